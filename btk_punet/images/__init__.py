"""Images of the sky as astronomers have them, and what the deblenders find in them."""

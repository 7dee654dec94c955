"""What do the scenes look like? Images with the truth and what each method makes of them."""

"""What all plots share: styles of methods, displays of fractions and reliabilities."""

"""What is minimised, of pictures and of what a critic says of them."""

"""What a training example is: sources of captioned pictures, their splits and transforms."""

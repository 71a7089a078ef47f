"""Results as pictures to look at: boxes, labels and confidences drawn into images, and those written to disk."""

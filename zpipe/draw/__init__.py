"""Results as pictures to look at: boxes, labels and confidences drawn into images, and those written to disk."""

from zpipe.draw.files import write_pictures
from zpipe.draw.objects import draw
from zpipe.draw.plates import plate, with_failure

__all__ = ["draw", "plate", "with_failure", "write_pictures"]

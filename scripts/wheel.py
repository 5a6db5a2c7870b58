"""`make wheel`: an optimized wheel for this Python, in dist/."""

import sys

from house.interpreters import this_interpreter
from house.step import StepError, end_with
from house.wheels import release_wheel

if __name__ == "__main__":
    try:
        release_wheel(this_interpreter())
    except StepError as error:
        sys.exit(end_with("wheel", [str(error)]))

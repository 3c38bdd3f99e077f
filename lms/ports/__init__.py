"""What the use cases need of the world (DESIGN §5)."""

from lms.ports.authority import *
from lms.ports.platform import *
from lms.ports.tpm import *
from lms.ports.vault import *

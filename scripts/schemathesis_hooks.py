"""What Schemathesis does not know of by itself (scripts/schemathesis.sh)."""

import schemathesis

# A piece of an upload, as tus calls it: bytes like any others.
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")

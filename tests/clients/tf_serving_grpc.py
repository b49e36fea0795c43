"""Call a tfweb server with TensorFlow Serving's own Python client.

    PYTHONPATH=.venv-grpc .venv/bin/python tests/clients/tf_serving_grpc.py TARGET CHECK...

The target is HOST:PORT or unix:PATH. The server has the models kitchen,
half_plus_two and digits of this repository. Prints a line for each check that
holds, and ends with the first that does not.
"""

import sys

from grpc_checks import inference, models, odd, services, tensors, waits

for name in sys.argv[2:]:
    module = next(module for module in (tensors, models, odd, inference, waits, services) if hasattr(module, name))
    getattr(module, name)()

"""Call a server with min-tfs-client, which reads answers from the field of their dtype alone.

    .venv-clients/bin/python tests/clients/min_tfs.py HOST PORT

The server has the model half_plus_two.
"""

import sys

import numpy as np
from min_tfs_client.requests import TensorServingClient
from min_tfs_client.tensors import tensor_proto_to_ndarray

client = TensorServingClient(host=sys.argv[1], port=int(sys.argv[2]))
answer = client.predict_request(model_name="half_plus_two", input_dict={"x": np.float32([1, 2, 3])}, model_version=1)
got = tensor_proto_to_ndarray(answer.outputs["y"])
assert got.dtype == np.float32 and got.tolist() == [2.5, 3, 3.5], got
print(f"half_plus_two version {answer.model_spec.version.value}: {got}")

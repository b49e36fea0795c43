// Calls a server with @grpc/grpc-js, as programs in Node.js do: float_val in, float_val out.
//
//     NODE_PATH=.venv-clients/node_modules node tests/clients/grpc_js.cjs ADDRESS
//
// The server has the model half_plus_two.
"use strict";
const assert = require("node:assert");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const definition = loader.loadSync("prediction_service.proto", { includeDirs: ["proto"], keepCase: true, defaults: true });
const { PredictionService } = grpc.loadPackageDefinition(definition).tensorflow.serving;
const client = new PredictionService(process.argv[2], grpc.credentials.createInsecure());

function predict(name, values) {
  const shape = { dim: [{ size: values.length }] };
  const message = {
    model_spec: { name, signature_name: "serving_default" },
    inputs: { x: { dtype: "DT_FLOAT", tensor_shape: shape, float_val: values } },
  };
  const deadline = Date.now() + 60_000;
  return new Promise((done, failed) => client.Predict(message, { deadline }, (error, answer) => (error ? failed(error) : done(answer))));
}

async function main() {
  const answer = await predict("half_plus_two", [1, 2, 3]);
  assert.deepStrictEqual(answer.outputs.y.float_val, [2.5, 3, 3.5]);
  assert.strictEqual(answer.outputs.y.tensor_content.length, 0);
  const many = await Promise.all(Array.from({ length: 100 }, (_, i) => predict("half_plus_two", [i])));
  many.forEach((one, i) => assert.deepStrictEqual(one.outputs.y.float_val, [i / 2 + 2]));
  await assert.rejects(predict("nobody", [1]), { code: grpc.status.NOT_FOUND, details: /nobody/ });
  console.log(`102 calls on one channel: ${answer.outputs.y.float_val}`);
  client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

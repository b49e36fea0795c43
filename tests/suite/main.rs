//! The tests of tfweb from outside: real models in real TensorFlow, real sockets, and where a process matters the real binary.
//!
//! - `architecture`: which folders, files and crates of the sources may use which.
//! - `transcripts`: requests and the answers to them as text, in `tests/transcripts`. Most of what the API promises is there.
//! - `http`: sizes, speeds, connections and ids, which a transcript cannot express.
//! - `spoken`: heads and bodies that no library would send, and what clients send that few servers expect.
//! - `http2`: the same port over HTTP/2, by curl, Go's client, h2load, and the single `frames` of this suite.
//! - `batching`: which requests share a run, and which client gets which answer.
//! - `lifecycle`, `shutdown`: the `tfweb` process: flags, environment, exit codes, signals.
//! - `urls`, `fetcher`: URL inputs, seen from clients and by the fetcher itself. The URLs lead to an `origin`, over `tls` or not.
//! - `odd_models`: models with a signature that cannot be served whole. `missing_assets`: models whose initialiser fails.
//! - `odd_origins`: URL inputs that lead to hostile, broken and old servers.
//! - `hostile_origin`: answers whose bytes could be taken for the answer to another request.
//! - `keeping`: models that come, change and go while they are served; `swaps`: the same under load; `changes`: many at once, and
//!   some whose callers go away; `copies`: versions that are not whole. `starting`: models that are loaded while others are served.
//! - `places`: strange things beside versions, stores that are down, caches that can only be read.
//! - `store`, `archives`: models brought from stores and archives, from servers that `store_servers` starts.
//! - `grpc`: the gRPC door, called by TensorFlow Serving's own client in Python; `grpc_attacks`: clients that want to hurt there.
//! - `logs`: the log of the process; `traces`: its spans, as the `collector` of this suite takes them. Both call by `grpc_client`.
//! - `metrics`: `/metrics` and `/stats`, read by Prometheus itself.
//! - `overload`: more requests than the server can answer, sent by `open_loop`.
//! - `balancer`: replicas behind HAProxy, and `container`: the same in Docker. `rolling` replaces and kills them.
//! - `serving_clients`: clients of TensorFlow Serving that others wrote. `naming`: what answers where no model or no number is named.
//! - `offers`: offers to upgrade a connection, by Java's default client too.
//! - `tokens`, `https`: which clients the ports accept.
//! - `operations`: health checks, variables of platforms, the admin port.
//! - `readme`: the examples of the README, by curl, Python and JavaScript, and its tables of flags.
//! - `tensorflow`: sessions of the engine on libtensorflow.
//! - `tf_serving`: TensorFlow Serving's API, where a transcript does not suffice.
//! - `shapes`: shapes and values that no model was made for, over every protocol.
//! - `fuzz`: random bodies.
//!
//! `support` starts servers in this process, `process` the binary, `client` speaks HTTP. Models are loaded once for all tests.
//! Servers listen on a free port of this machine. The tests need libtensorflow where `tfweb` itself finds it, such as in `.venv`;
//! those of `store` and `grpc` need the servers and clients that `make test` installs there and in `.venv-grpc`. Without HAProxy,
//! Java, a Docker engine, curl, Go, h2load or node, `balancer`, `offers`, `container`, `http2` and `readme` say what they skip; without
//! the clients in `.venv-clients`, `serving_clients` does.

#![forbid(unsafe_code)]

mod architecture;
mod archives;
mod balancer;
mod batching;
mod changes;
mod client;
mod collector;
mod container;
mod copies;
mod damage;
mod drain;
mod exits;
mod fetch_sharing;
mod fetcher;
mod frames;
mod fuzz;
mod gated;
mod grpc;
mod grpc_attacks;
mod grpc_client;
mod hostile_clients;
mod hostile_origin;
mod hostile_store;
mod http;
mod http2;
mod https;
mod keeping;
mod lifecycle;
mod listings;
mod logs;
mod memory;
mod metrics;
mod missing_assets;
mod naming;
mod odd_models;
mod odd_origins;
mod offers;
mod open_loop;
mod operations;
mod origin;
mod overload;
mod places;
mod process;
mod proxies;
mod readme;
mod rolling;
mod serving_clients;
mod shapes;
mod shutdown;
mod spoken;
mod starting;
mod store;
mod store_servers;
mod support;
mod swaps;
mod tensorflow;
mod tf_serving;
mod tls;
mod tokens;
mod traces;
mod transcripts;
mod trials;
mod urls;

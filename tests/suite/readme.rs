//! The README as a user reads it: runs its curl, Python and JavaScript examples against a server, and compares what they print with
//! the text below them. Holds its tables of flags against `--help`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use tfweb::config::Flags;

use crate::grpc::without_proxies;
use crate::http2::{has, run};
use crate::process::Process;

/// The part before the first heading of the second level.
const TOP: &str = "";
const OWN_MODEL: &str = "Your own model";
const TF_SERVING: &str = "TensorFlow Serving's APIs";
const CHANGES: &str = "Models and versions";
/// The sections whose examples call the server of `make run`.
const OF_DEMO: [&str; 3] = [TOP, "Clients", "Errors"];
/// The server of `make run`, on another port.
const DEMO: &str = "--model examples/digits --batch_transpose --static_path examples/digits_images --url_allow 127.0.0.1";
const HALF_PLUS_TWO: &str = "--model tests/models/half_plus_two";
/// Any secret: the README calls it `$TOKEN`.
const TOKEN: &str = "open-sesame";
/// The decimal places of numbers that are compared. The last ones differ between processors.
const PLACES: usize = 3;

/// A fenced block of code.
struct Block {
    section: String,
    language: String,
    text: String,
}

/// A command or a program that the README shows with its output.
struct Example {
    section: String,
    language: String,
    code: String,
    output: String,
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("the README")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blocks() -> Vec<Block> {
    let mut section = TOP.to_owned();
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for line in readme().lines() {
        if let Some(language) = line.strip_prefix("```") {
            if !is_open {
                blocks.push(Block { section: section.clone(), language: language.to_owned(), text: String::new() });
            }
            is_open = !is_open;
        } else if let (true, Some(block)) = (is_open, blocks.last_mut()) {
            block.text += &format!("{line}\n");
        } else if let Some(heading) = line.strip_prefix("## ") {
            section = heading.to_owned();
        }
    }
    assert!(!is_open, "the last block has an end");
    blocks
}

/// All curl commands, which stand behind `$ ` and above their output, and all programs with a block of output behind them.
fn examples() -> Vec<Example> {
    let blocks = blocks();
    let mut examples = Vec::new();
    for (block, next) in blocks.iter().zip(blocks.iter().skip(1)) {
        let mut add = |code: &str, output: &str| {
            let [section, language] = [&block.section, &block.language].map(String::clone);
            examples.push(Example { section, language, code: code.to_owned(), output: output.to_owned() });
        };
        match block.language.as_str() {
            "console" => block.text.split("$ ").filter(|command| command.starts_with("curl ")).for_each(|command| {
                let (code, output) = command.split_once('\n').expect("a whole line");
                add(code, output);
            }),
            "python" | "javascript" if next.language == "text" => add(&block.text, &next.text),
            _ => {}
        }
    }
    examples
}

/// Runs the examples of some sections. `addresses` are those of HTTP and of gRPC.
#[track_caller]
fn check(sections: &[&str], addresses: [SocketAddr; 2]) {
    let examples: Vec<Example> = examples().into_iter().filter(|example| sections.contains(&example.section.as_str())).collect();
    assert!(!examples.is_empty(), "{sections:?} have examples");
    for example in examples {
        let [http, grpc] = addresses.map(|address| address.to_string());
        let code = example.code.replace("localhost:8080", &http).replace("localhost:50051", &grpc);
        let mut command = match example.language.as_str() {
            "python" => python(&code),
            "javascript" if !has("node", "--version", "v") => continue,
            "javascript" => interpreter("node", &["--input-type=module", "-e", &code]),
            _ => interpreter("sh", &["-c", &code]),
        };
        let printed = run(command.env("TOKEN", TOKEN));
        assert_eq!(rounded(printed.trim()), rounded(example.output.trim()), "{code}");
    }
}

fn python(code: &str) -> Command {
    let mut command = interpreter(root().join(".venv/bin/python").to_str().expect("a path of text"), &["-c", code]);
    command.env("PYTHONPATH", root().join(".venv-grpc"));
    command
}

fn interpreter(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    without_proxies(&mut command);
    command
}

/// The text, with each number that has a fraction rounded.
fn rounded(text: &str) -> String {
    let is_of_number = |character: char| character.is_ascii_digit() || character == '.';
    let mut rounded = String::new();
    for word in text.split_inclusive(|character| !is_of_number(character)) {
        let number = word.trim_end_matches(|character| !is_of_number(character));
        match number.parse::<f64>() {
            Ok(value) if number.contains('.') => rounded += &format!("{value:.PLACES$}{}", &word[number.len()..]),
            Ok(_) | Err(_) => rounded += word,
        }
    }
    rounded
}

/// A server of these flags, and its addresses.
#[track_caller]
fn serve(flags: &str) -> (Process, [SocketAddr; 2]) {
    let grpc = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let process = Process::serve(&format!("{flags} --grpc_port {}", grpc.port()));
    let addresses = [process.address(), grpc];
    (process, addresses)
}

#[test]
fn clients_print_what_the_readme_shows() {
    let (_process, addresses) = serve(DEMO);
    check(&OF_DEMO, addresses);
}

#[test]
fn tensorflow_servings_clients_print_what_the_readme_shows() {
    let (_process, addresses) = serve(HALF_PLUS_TWO);
    check(&[TF_SERVING], addresses);
}

#[test]
fn models_change_as_the_readme_shows() {
    let (_process, addresses) = serve(&format!("{HALF_PLUS_TWO} --admin_token {TOKEN}"));
    check(&[CHANGES], addresses);
}

#[test]
fn a_keras_model_is_exported_and_served_as_the_readme_shows() {
    let directory = tempfile::tempdir().expect("a directory");
    let blocks = blocks();
    let export = blocks.iter().find(|block| block.section == OWN_MODEL && block.language == "python").expect("a program");
    run(python(&export.text).current_dir(&directory));
    let (_process, addresses) = serve(&format!("--model {}", directory.path().join("models/half_plus_two").display()));
    check(&[OWN_MODEL], addresses);
}

#[test]
fn every_example_of_the_readme_is_run() {
    let run = OF_DEMO.into_iter().chain([OWN_MODEL, TF_SERVING, CHANGES]);
    let examples = examples();
    let shown: BTreeSet<&str> = examples.iter().map(|example| example.section.as_str()).collect();
    assert_eq!(shown, run.collect());
    let languages: BTreeSet<&str> = examples.iter().map(|example| example.language.as_str()).collect();
    assert_eq!(languages, BTreeSet::from(["console", "javascript", "python"]));
    assert_eq!(rounded("[0.99810034, 1.0], 12 of 3"), "[0.998, 1.000], 12 of 3");
}

/// Defaults by topic and flag: `--port PORT`.
type Topics = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// The flags that `--help` lists. Headings are not indented, flags are, and their explanations further.
fn topics_of_help() -> Topics {
    let help = Flags::parse(["tfweb", "--help"].map(str::to_owned)).expect_err("the text of --help").text;
    let mut topics = Topics::new();
    let mut topic = String::new();
    // A flag and its explanation, which may be wrapped anywhere.
    for part in help.split("\n        --") {
        let words = part.split_whitespace().collect::<Vec<_>>().join(" ");
        let default = words.split_once("[default: ").and_then(|(_, rest)| Some(rest.split_once(']')?.0.to_owned()));
        let line = part.lines().next().unwrap_or_default();
        if !topic.is_empty() {
            let flag = format!("--{}", line.trim_end_matches("...").replace(['<', '>'], ""));
            topics.entry(topic.clone()).or_default().insert(flag, default);
        }
        // The heading of the next topic is the last line before its first flag.
        if let Some(heading) = part.lines().last().filter(|line| !line.starts_with(' ')).and_then(|line| line.strip_suffix(':')) {
            topic = heading.to_owned();
        }
    }
    topics
}

/// The flags in the tables of the README: `| `--port PORT` | `8080` | … |`. A default that is not in backticks is words.
fn topics_of_readme() -> Topics {
    let readme = readme();
    let (_, flags) = readme.split_once("\n## Flags\n").expect("a section");
    let flags = flags.split("\n## ").next().unwrap_or_default();
    let mut topics = Topics::new();
    for topic in flags.split("\n### ").skip(1) {
        let rows = topic.lines().filter(|line| line.starts_with("| `--"));
        let flags = rows.map(|row| {
            let mut cells = row.split(" | ").map(|cell| cell.trim_start_matches("| "));
            let [flag, default] = [cells.next(), cells.next()].map(|cell| cell.unwrap_or_default());
            (flag.replace('`', ""), default.strip_prefix('`').and_then(|text| text.strip_suffix('`')).map(str::to_owned))
        });
        let heading = topic.lines().next().unwrap_or_default();
        topics.insert(heading.to_owned(), flags.collect());
    }
    topics
}

#[test]
fn the_readme_lists_the_flags_of_help() {
    let (help, readme) = (topics_of_help(), topics_of_readme());
    let names = |topics: &Topics| -> BTreeMap<String, BTreeSet<String>> {
        let named = topics.iter().filter(|(_, flags)| !flags.is_empty());
        named.map(|(topic, flags)| (topic.clone(), flags.keys().cloned().collect())).collect()
    };
    assert_eq!(names(&readme), names(&help));
    for (topic, flags) in &help {
        for (flag, default) in flags.iter().filter(|(_, default)| default.is_some()) {
            assert_eq!(&readme[topic][flag], default, "the default of {flag}");
        }
    }
}

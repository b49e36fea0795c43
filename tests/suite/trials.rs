//! The trials of signatures when a model is loaded, on real models: which signatures are tried, and that no trial leaves a trace.

use std::path::Path;

use tfweb_engine::tensorflow::{InterOp, SavedModelSession};
use tfweb_engine::{Session, Tensor, Trial};

use crate::process::Process;
use crate::support::session;

/// Loads a model anew, so that nobody but the load itself has run it.
fn load(directory: &str, inter_op: InterOp) -> SavedModelSession {
    // Opens the library.
    session("tests/models/half_plus_two");
    SavedModelSession::load(Path::new(directory), &["serve".to_owned()], inter_op).expect("a model")
}

#[track_caller]
fn signature(session: &SavedModelSession, name: &str) -> usize {
    session.signatures().iter().position(|signature| signature.name == name).expect("a signature")
}

/// The signatures of a model that are not tried, each with the operation that is the reason.
fn untried<'s>(session: &'s SavedModelSession) -> Vec<(&'s str, &'s str)> {
    let operation = |reason: &'s str| reason.strip_prefix("its operation ")?.split(' ').next();
    session.untried().map(|(signature, reason)| (signature.name.as_str(), operation(reason).unwrap_or(reason))).collect()
}

#[test]
fn no_trial_changes_the_state_of_a_model() {
    for inter_op in [InterOp::Auto, InterOp::Caller, InterOp::Pool] {
        let session = load("tests/models/engine/1", inter_op);
        let read = || session.run(signature(&session, "read"), &[&[Tensor::from_vec(&[1], vec![0.0_f32])]]).expect("a run");
        let outputs = read();
        let [last, state, table, tally] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(last.as_slice::<f32>().unwrap(), [7.0], "a variable, as it was saved");
        assert_eq!(tally.as_slice::<i64>().unwrap(), [0], "a variable, as it was saved");
        assert_eq!(table.as_slice::<i64>().unwrap(), [-1], "the default of an empty table");
        assert_eq!(state.as_slice::<i64>().unwrap(), [1], "a generator that drew nothing since its seed");
        // A request changes it, once for each run.
        let write = [Tensor::from_vec(&[1], vec![3.0_f32])];
        session.run(signature(&session, "write"), &[&write]).expect("a run");
        assert_eq!((read()[0].as_slice::<f32>().unwrap(), read()[3].as_slice::<i64>().unwrap()), (&[3.0][..], &[1][..]));
    }
}

#[test]
fn just_the_signatures_that_may_change_state_are_not_tried() {
    let session = load("tests/models/engine/1", InterOp::Auto);
    let expect = [
        ("draw", "RngReadAndSkip"),
        ("insert", "LookupTableInsertV2"),
        ("nested", "AssignAddVariableOp"),
        ("write", "AssignVariableOp"),
    ];
    let untried = untried(&session);
    assert_eq!(untried, expect);
    for (name, _) in expect {
        assert!(!session.runs_in_caller(signature(&session, name)), "{name}: nobody has measured what is faster");
    }
    assert_eq!(self::untried(&load("tests/models/kitchen/1", InterOp::Auto)), [("stateful", "AssignAddVariableOp")]);
    for model in ["half_plus_two/1", "examples/1", "operations/1"] {
        assert_eq!(self::untried(&load(&format!("tests/models/{model}"), InterOp::Auto)), [], "{model}");
    }
    assert_eq!(self::untried(&load("examples/digits", InterOp::Auto)), []);
}

#[test]
fn a_variable_of_tensorflow_1_is_not_changed() {
    let session = load("tests/models/engine_v1/1", InterOp::Auto);
    assert_eq!(untried(&session), [("write", "AssignAdd")]);
    let run = |name| session.run(signature(&session, name), &[&[Tensor::from_vec(&[1], vec![5.0_f32])]]).expect("a run").remove(0);
    assert_eq!(run("read").as_slice::<f32>().unwrap(), [0.0]);
    assert_eq!(run("write").as_slice::<f32>().unwrap(), [5.0]);
    assert_eq!(run("read").as_slice::<f32>().unwrap(), [1.0], "a request changes it");
}

#[test]
fn an_operation_without_a_kernel_is_found_without_a_trial() {
    let session = load("tests/models/no_kernel/1", InterOp::Auto);
    let index = signature(&session, "serving_default");
    let Trial::Failed(why) = session.trial(index) else { panic!("{:?}", session.trial(index)) };
    assert_eq!(why, "its operation EagerPyFunc cannot run: this TensorFlow has no kernel for it");
    assert!(session.run(index, &[&[Tensor::from_vec(&[1], vec![0.0_f32])]]).is_err());
    for model in ["tests/models/engine/1", "tests/models/kitchen/1", "tests/models/operations/1", "tests/models/examples/1"] {
        let session = load(model, InterOp::Auto);
        let failed = |index: &usize| session.trial(*index).failure().is_some_and(|why| why.contains("no kernel"));
        assert_eq!((0..session.signatures().len()).find(failed), None, "{model}");
    }
}

#[test]
fn the_log_says_why_a_signature_was_not_tried() {
    let process = Process::serve("--model tests/models/kitchen");
    let lines: Vec<String> = process.stderr().into_iter().filter(|line| line.contains("not tried")).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let expect = "signature \"stateful\": not tried at load: its operation AssignAddVariableOp may change the model's state";
    assert!(lines[0].contains("INFO") && lines[0].contains(expect), "{lines:#?}");
}

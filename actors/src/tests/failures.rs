//! Runs that fail, and the requests that get the error.

use tfweb_engine::fake::Behaviour;
use tfweb_engine::Code;

use super::support::{behind_a_held_run, column, soon, start, values, POLICY};
use crate::model_handle::Policy;

#[actix::test]
async fn a_failing_request_fails_alone() {
    let (fake, handle) = start(Behaviour::FailsOnNegative, POLICY);
    let requests =
        (0..32_i16).map(|i| handle.predict(column(&[if i == 11 { -1.0 } else { f32::from(i) }]), soon(), None)).collect();
    let answers = behind_a_held_run(&fake, &handle, requests).await;
    for (i, answer) in (0..32_i16).zip(answers) {
        if i == 11 {
            let error = answer.unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (Code::InvalidArgument, "x must not be negative"));
        } else {
            assert_eq!(values(answer), [f32::from(i)]);
        }
    }
    assert!(fake.run_rows().len() <= 2 + 2 * 5, "halving 32 takes five levels: {:?}", fake.run_rows());
}

#[actix::test]
async fn a_panic_hurts_only_its_own_request_and_the_thread_lives_on() {
    let (fake, handle) = start(Behaviour::PanicsOnNegative, POLICY);
    let requests = [1.0, -1.0, 2.0].map(|x| handle.predict(column(&[x]), soon(), None));
    let answers = behind_a_held_run(&fake, &handle, requests.into()).await;
    let codes: Vec<_> = answers.into_iter().map(|answer| answer.map(|_| ()).map_err(|error| error.code)).collect();
    assert_eq!(codes, [Ok(()), Err(Code::Internal), Ok(())]);
    assert_eq!(values(handle.predict(column(&[3.0]), soon(), None).await), [3.0]);
}

#[actix::test]
async fn one_panic_among_a_thousand_requests_is_found() {
    let (fake, handle) = start(Behaviour::PanicsOnNegative, Policy { batch_rows_max: 1024, ..POLICY });
    let requests =
        (0..1000_i16).map(|i| handle.predict(column(&[if i == 0 { -1.0 } else { f32::from(i) }]), soon(), None)).collect();
    let answers = behind_a_held_run(&fake, &handle, requests).await;
    let failed: Vec<_> = answers.iter().enumerate().filter(|(_, answer)| answer.is_err()).map(|(i, _)| i).collect();
    assert_eq!(failed, [0]);
}

#[actix::test]
async fn a_broken_session_is_not_run_for_ever() {
    let (fake, handle) = start(Behaviour::AlwaysFails, POLICY);
    let requests = (0..32).map(|_| handle.predict(column(&[1.0]), soon(), None)).collect();
    let answers = behind_a_held_run(&fake, &handle, requests).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap_err().code == Code::Internal));
    assert!(fake.run_rows().len() < 32, "{:?}", fake.run_rows());
}

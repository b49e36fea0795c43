//! Runs each target on inputs of its corpus and on damaged ones: always the same, for a moment. One test, because the memory that
//! it counts is the whole process's.

#![forbid(unsafe_code)]

use std::path::Path;

use tfweb_fuzz::{Target, TARGETS};

/// Damaged inputs of each target.
const ROUNDS: usize = 4000;
/// The most bytes of an input. A splice can double it each round.
const INPUT_BYTES_MAX: usize = 4096;

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("less than a usize")
    }
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

/// Damages an input in one to four places.
fn damage(input: &mut Vec<u8>, target: &Target, others: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + 1 + random.below(8)).min(input.len());
        match random.below(8) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => input.insert(at, random.next().to_le_bytes()[0]),
            3 if !target.pieces.is_empty() => {
                let piece = target.pieces[random.below(target.pieces.len())];
                drop(input.splice(at..at, piece.bytes()));
            }
            4 => drop(input.splice(at..end, others[random.below(others.len())].clone())),
            5 => {
                let again = input[at..end].repeat(1 + random.below(64));
                drop(input.splice(at..at, again));
            }
            6 => input[at..end].fill([0, 0xff, 0x7f, 0x80][random.below(4)]),
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
}

#[test]
fn no_damaged_input_panics_or_takes_more_than_its_memory() {
    for target in TARGETS {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{}", target.name);
        corpus.iter().for_each(|input| target.check(input));
        let mut random = Random(88_172_645_463_325_252);
        for round in 0..ROUNDS {
            let mut input = corpus[round % corpus.len()].clone();
            damage(&mut input, target, &corpus, &mut random);
            let checked = std::panic::catch_unwind(|| target.check(&input));
            assert!(checked.is_ok(), "{}: {:?}", target.name, input.escape_ascii().to_string());
        }
    }
}

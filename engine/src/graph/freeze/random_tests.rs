//! Random graphs give the same numbers before and after their variables are frozen.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;

use prost::Message;

use super::interpreter::Machine;
use super::plan::{Plan, Roots};
use super::text::{self, Graph};
use super::{Value, Variable};

const GRAPHS: u64 = 400;
/// Functions come in families of two, which have the same arguments. A family calls those before it.
const FAMILIES: usize = 5;
const VARIABLES: usize = 5;

/// A generator of numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn one<'a>(&mut self, of: &'a [String]) -> &'a str {
        &of[self.below(of.len())]
    }
}

/// Writes a random graph.
struct Writer {
    random: Random,
    text: String,
    /// For each family, whether each of its arguments is a handle. The first is a number.
    families: Vec<Vec<bool>>,
    /// How often in a hundred statements a variable is assigned.
    assignments: usize,
    names: usize,
}

/// The tensors at hand in a graph or function.
struct Scope {
    is_function: bool,
    numbers: Vec<String>,
    handles: Vec<String>,
}

impl Writer {
    /// The main graph and its functions. The outputs are the last numbers of the main graph.
    fn graph(seed: u64) -> (String, Vec<String>) {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1);
        let family = |random: &mut Random| (0..1 + random.below(4)).map(|index| index > 0 && random.below(3) > 0).collect();
        let families: Vec<Vec<bool>> = (0..FAMILIES).map(|_| family(&mut random)).collect();
        let assignments = random.below(3);
        let mut writer = Self { random, text: String::new(), families, assignments, names: 0 };
        let mut scope = Scope { is_function: false, numbers: vec!["x".into()], handles: Vec::new() };
        writer.text.push_str("x = Placeholder() dtype=float\n");
        for handle in 0..VARIABLES + 1 {
            // The last handle is one more of another variable.
            let variable = if handle < VARIABLES { handle } else { writer.random.below(VARIABLES) };
            writeln!(writer.text, "h{handle} = VarHandleOp() dtype=float shared_name=\"v{variable}\"").unwrap();
            scope.handles.push(format!("h{handle}"));
        }
        writer.statements(&mut scope, FAMILIES, 8..16);
        for family in 0..FAMILIES {
            for member in ["a", "b"] {
                writer.function(family, member);
            }
            writer.loop_functions(family);
        }
        let outputs = scope.numbers.into_iter().rev().take(3).collect();
        (writer.text, outputs)
    }

    fn function(&mut self, family: usize, member: &str) {
        let mut scope = self.head(&format!("f{family}{member}"), family, "(o: float)");
        self.statements(&mut scope, family, 1..6);
        writeln!(self.text, "return o = {}", scope.numbers.last().unwrap()).unwrap();
    }

    /// The condition and the body of a loop over the arguments of a family. The first one counts.
    fn loop_functions(&mut self, family: usize) {
        let mut scope = self.head(&format!("c{family}"), family, "(o: float)");
        self.statements(&mut scope, family, 1..2);
        self.text.push_str("k = Const() n=3\nl = Less(a0, k:output:0)\nreturn o = l:z:0\n");
        let outputs = self.arguments(family, "r");
        let mut scope = self.head(&format!("l{family}"), family, &format!("({outputs})"));
        self.statements(&mut scope, family, 1..5);
        self.text.push_str("k = Const() n=1\nn = Add(a0, k:output:0)\nreturn r0 = n:z:0\n");
        for (index, is_handle) in self.families[family].clone().into_iter().enumerate().skip(1) {
            let output = match (is_handle, self.random.below(3)) {
                (false, _) => self.random.one(&scope.numbers).to_owned(),
                (true, 0) => {
                    writeln!(self.text, "p{index} = Identity(a{index}) T=resource").unwrap();
                    format!("p{index}:output:0")
                }
                // Once in a while the handle of the next turn is any.
                (true, 1) if self.random.below(4) == 0 => self.random.one(&scope.handles).to_owned(),
                (true, _) => format!("a{index}"),
            };
            writeln!(self.text, "return r{index} = {output}").unwrap();
        }
    }

    fn arguments(&self, family: usize, prefix: &str) -> String {
        let dtypes = self.families[family].iter().map(|is_handle| if *is_handle { "resource" } else { "float" });
        dtypes.enumerate().map(|(index, dtype)| format!("{prefix}{index}: {dtype}")).collect::<Vec<_>>().join(", ")
    }

    fn head(&mut self, name: &str, family: usize, outputs: &str) -> Scope {
        writeln!(self.text, "fn {name}({}) -> {outputs}", self.arguments(family, "a")).unwrap();
        let (mut numbers, mut handles) = (Vec::new(), Vec::new());
        for (index, is_handle) in self.families[family].iter().enumerate() {
            if *is_handle { &mut handles } else { &mut numbers }.push(format!("a{index}"));
        }
        Scope { is_function: true, numbers, handles }
    }

    fn statements(&mut self, scope: &mut Scope, families: usize, counts: Range<usize>) {
        for _ in 0..counts.start + self.random.below(counts.len()) {
            self.statement(scope, families);
        }
    }

    fn statement(&mut self, scope: &mut Scope, families: usize) {
        let name = format!("s{}", self.names);
        self.names += 1;
        let output = |port: &str| if scope.is_function { format!("{name}:{port}:0") } else { name.clone() };
        let number = self.random.one(&scope.numbers).to_owned();
        let has_handles = !scope.handles.is_empty();
        if has_handles && self.random.below(100) < self.assignments {
            let handle = self.random.one(&scope.handles);
            writeln!(self.text, "{name}a = AssignAddVariableOp({handle}, {number}) dtype=float").unwrap();
            writeln!(self.text, "{name} = Identity({number}, ^{name}a) T=float").unwrap();
            return scope.numbers.push(output("output"));
        }
        match self.random.below(6) {
            0 | 1 if has_handles => {
                writeln!(self.text, "{name} = ReadVariableOp({}) dtype=float", self.random.one(&scope.handles)).unwrap();
                scope.numbers.push(output("value"));
            }
            2 if has_handles => {
                writeln!(self.text, "{name} = Identity({}) T=resource", self.random.one(&scope.handles)).unwrap();
                scope.handles.push(output("output"));
            }
            3 | 4 if families > 0 => {
                let family = self.random.below(families);
                if has_handles || !self.families[family].contains(&true) {
                    self.call(&name, scope, family);
                }
            }
            _ => {
                let op = ["Add", "Mul"][self.random.below(2)];
                writeln!(self.text, "{name} = {op}({number}, {})", self.random.one(&scope.numbers)).unwrap();
                scope.numbers.push(output("z"));
            }
        }
    }

    fn call(&mut self, name: &str, scope: &mut Scope, family: usize) {
        let of_family = self.families[family].clone();
        let inputs: Vec<String> = of_family
            .iter()
            .map(|is_handle| self.random.one(if *is_handle { &scope.handles } else { &scope.numbers }).to_owned())
            .collect();
        let inputs = inputs.join(", ");
        let dtypes: Vec<&str> = of_family.iter().map(|is_handle| if *is_handle { "resource" } else { "float" }).collect();
        let dtypes = format!("[{}]", dtypes.join(","));
        let chosen = self.random.one(&scope.numbers).to_owned();
        let kind = self.random.below(4);
        let call = match kind {
            0 => format!("PartitionedCall({inputs}) f=@f{family}a Tin={dtypes}"),
            1 => format!("If({chosen}, {inputs}) then_branch=@f{family}a else_branch=@f{family}b Tin={dtypes}"),
            2 => format!("Case({chosen}, {inputs}) branches=@[f{family}b,f{family}a,f{family}b] Tin={dtypes}"),
            _ => format!("While({inputs}) cond=@c{family} body=@l{family} T={dtypes}"),
        };
        writeln!(self.text, "{name} = {call}").unwrap();
        // A loop gives its arguments, others one number.
        let outputs = if kind == 3 { of_family.as_slice() } else { &[false] };
        for (index, is_handle) in outputs.iter().enumerate() {
            let output = if scope.is_function { format!("{name}:output:{index}") } else { format!("{name}:{index}") };
            if *is_handle { &mut scope.handles } else { &mut scope.numbers }.push(output);
        }
    }
}

/// The values of the variables by their shared names.
fn variables() -> HashMap<String, f64> {
    (0..VARIABLES).map(|variable| (format!("v{variable}"), 2.0 + variable as f64)).collect()
}

/// Freezes what may be frozen. Gives the graph and the shared names of the frozen variables.
fn freeze(graph: &Graph, outputs: &[String]) -> (Graph, Vec<String>) {
    let roots = Roots { feeds: vec!["x:0".into()], fetches: outputs.to_vec() };
    let plan = Plan::new(graph.encode_to_vec().into(), vec![roots], &Default::default()).unwrap();
    let shared_name = |variable: &Variable| {
        let node = graph.nodes.iter().find(|node| node.name == variable.name).unwrap();
        String::from_utf8(node.attributes["shared_name"].text.clone().unwrap()).unwrap()
    };
    let names: Vec<String> = plan.variables().iter().map(shared_name).collect();
    let value = |(variable, name): (&Variable, &String)| Value {
        variable: variable.name.clone(),
        dtype: variable.dtype,
        dims: [].as_slice().into(),
        bytes: (variables()[name] as f32).to_le_bytes().to_vec().into(),
    };
    let frozen = plan.freeze(&[0], plan.variables().iter().zip(&names).map(value).collect()).unwrap();
    (Graph::decode(frozen.graph.as_slice()).unwrap(), names)
}

#[test]
fn random_graphs_give_the_same_numbers_when_they_are_frozen() {
    let (mut frozen_count, mut kept_count) = (0, 0);
    for seed in 0..GRAPHS {
        let (text, outputs) = Writer::graph(seed);
        let graph = text::read(&text);
        let (frozen, names) = freeze(&graph, &outputs);
        for feed in [0.0, 1.0, 5.0] {
            let mut before = Machine::new(&graph, variables(), feed);
            // The values of frozen variables are not looked at again.
            let others = variables().into_iter().filter(|(name, _)| !names.contains(name));
            let mut after = Machine::new(&frozen, others.collect(), feed);
            for output in &outputs {
                assert_eq!(before.fetch(output), after.fetch(output), "seed {seed}, feed {feed}, {output} of\n{text}");
            }
            assert_eq!(before.assigned, after.assigned, "seed {seed}");
        }
        frozen_count += names.len();
        kept_count += frozen.nodes.iter().filter(|node| node.op == "VarHandleOp").count();
    }
    assert!(frozen_count > 300 && kept_count > 100, "{frozen_count} frozen, {kept_count} kept: too few of either tell nothing");
}

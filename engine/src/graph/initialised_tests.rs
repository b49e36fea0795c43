use super::super::text::graph;
use super::*;

/// Fetches `y` of a graph whose initialiser is the node `init`. Expects the operation by which it needs the initialiser. `Known` and
/// `NoOp` are the only ones that the registry calls stateless.
#[track_caller]
fn check(main: &str, functions: &[(&str, &str)], expect: Option<&str>) {
    let stateless = ["Known", "NoOp"].map(str::to_owned).into();
    let graph = graph(main, functions);
    assert_eq!(Initialised::new(&graph, &["init"], &stateless).needed_by("y"), expect, "{main}");
}

#[test]
fn a_variable_needs_the_initialiser_if_that_reaches_it() {
    let set = "s = AssignVariableOp(v)\n init = NoOp(^s)";
    let check = |variables: &str, expect| check(&format!("{variables}\n y = ReadVariableOp(w)\n {set}"), &[], expect);
    check("v = VarHandleOp@a()\n w = VarHandleOp@b()", None);
    check("v = VarHandleOp@a()\n w = VarHandleOp@a()", Some("VarHandleOp"));
    check("v = VarHandleOp()\n w = VarHandleOp()", Some("VarHandleOp"));
    check("v = VariableV2()\n w = VariableV2()", None);
    check("v = VariableV2()\n w = VariableV2@v()", Some("VariableV2"));
    check("v = Variable@w()\n w = VariableV2()", Some("VariableV2"));
}

#[test]
fn what_is_restored_needs_no_initialiser_also_if_runs_change_it() {
    check("w = VarHandleOp@w()\n a = AssignAddVariableOp(w)\n y = ReadVariableOp(w, ^a)\n init = NoOp()", &[], None);
    check("x = Known()\n t = TensorArrayV3()\n y = TensorArrayReadV3(t, x)\n init = NoOp()", &[], None);
}

#[test]
fn every_table_and_every_unknown_operation_needs_the_initialiser() {
    for holder in ["HashTable", "HashTableV2", "MutableHashTableV2", "MutableDenseHashTable", "AnonymousHashTable", "NeverHeardOf"]
    {
        let fetched = format!("h = {holder}()\n y = LookupTableFindV2(h)\n init = NoOp()");
        check(&fetched, &[], Some(holder));
        check(&format!("h = {holder}()\n k = Known(h)\n y = Known(^k)\n init = NoOp()"), &[], Some(holder));
        check(&format!("h = {holder}()\n y = Known()\n init = NoOp(^h)"), &[], None);
    }
}

#[test]
fn functions_of_both_are_looked_into() {
    let of =
        |name: &str| [("outer(a)".to_owned(), "w = While:body(a)".to_owned()), ("body(a)".to_owned(), format!("h = {name}()"))];
    let check = |main: &str, holder: &str, expect| {
        let [outer, body] = of(holder);
        check(main, &[(&outer.0, &outer.1), (&body.0, &body.1)], expect);
    };
    check("y = StatefulPartitionedCall:outer(x)\n init = NoOp()", "HashTableV2", Some("HashTableV2"));
    check("y = outer(x)\n init = NoOp()", "HashTableV2", Some("HashTableV2"));
    check("y = outer(x)\n init = NoOp()", "VarHandleOp@v", None);
    let reads = "v = VarHandleOp@v()\n y = ReadVariableOp(v)\n";
    check(&format!("{reads} i = StatefulPartitionedCall:outer(x)\n init = NoOp(^i)"), "VarHandleOp@v", Some("VarHandleOp"));
    check(&format!("{reads} i = StatefulPartitionedCall:outer(x)\n init = NoOp(^i)"), "VarHandleOp@w", None);
}

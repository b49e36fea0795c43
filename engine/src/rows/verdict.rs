//! The verdict on the rows of a signature.

/// Whether each row of the outputs depends on the same row of the inputs alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Proven: it does.
    Independent,
    /// It does not, for this reason. Requests must not share a run, and no request may be divided.
    Dependent(String),
    /// Nobody knows, for this reason.
    Unproven(String),
}

impl Rows {
    /// Joins what runs have shown with what the graph says. Rows are dependent if one of both says so, and independent if only one of
    /// both speaks and says that.
    #[must_use]
    pub(crate) fn or_by_graph(self, graph: Self) -> Self {
        match (self, graph) {
            (Self::Dependent(why), _) | (_, Self::Dependent(why)) => Self::Dependent(why),
            (Self::Independent, _) | (_, Self::Independent) => Self::Independent,
            (Self::Unproven(why), Self::Unproven(_)) => Self::Unproven(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_by_runs_or_by_graph_depends() {
        let (dependent, unproven) = (|| Rows::Dependent("a".into()), || Rows::Unproven("b".into()));
        let check = |runs: Rows, graph: Rows, expect: Rows| assert_eq!(runs.or_by_graph(graph), expect);
        check(dependent(), Rows::Independent, dependent());
        check(Rows::Independent, dependent(), dependent());
        check(unproven(), dependent(), dependent());
        check(unproven(), Rows::Independent, Rows::Independent);
        check(Rows::Independent, unproven(), Rows::Independent);
        check(unproven(), Rows::Unproven("c".into()), unproven());
    }
}

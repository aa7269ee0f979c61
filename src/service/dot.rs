//! A plan as a drawing, in Graphviz's language.

use std::fmt::Write;

use rivus_core::JobGraph;

/// Vertices as boxes with their operators and parallelism, edges with their exchange.
pub(super) fn dot(name: &str, graph: &JobGraph) -> String {
    let mut out = format!(
        "digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n",
        quoted(name)
    );
    for vertex in &graph.vertices {
        let operators = graph.operators(vertex.id);
        let operators: Vec<&str> = operators.iter().map(|uid| uid.0.as_str()).collect();
        let label = format!(
            "{}\n({})\nparallelism {}",
            vertex.name,
            operators.join(", "),
            vertex.parallelism
        );
        let _ = writeln!(out, "  {} [label={}];", vertex.id, quoted(&label));
    }
    for edge in graph.vertices.iter().flat_map(|vertex| &vertex.outputs) {
        let exchange = format!("{:?}", edge.exchange).to_lowercase();
        let _ = writeln!(
            out,
            "  {} -> {} [label={}];",
            edge.from,
            edge.to,
            quoted(&exchange)
        );
    }
    out.push_str("}\n");
    out
}

fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StreamEnvironment;
    use crate::connectors::DiscardSink;

    #[test]
    fn a_plan_is_drawn_with_its_exchanges_and_names_are_quoted() {
        let env = StreamEnvironment::builder().parallelism(2).build();
        let numbers = env
            .from_collection(vec![1, 2])
            .name("the \"numbers\"")
            .uid("numbers");
        numbers
            .key_by(|n| *n)
            .count()
            .uid("counts")
            .sink_to(DiscardSink::new())
            .uid("out");
        let drawn = dot("n", &env.plan().unwrap());
        assert!(drawn.starts_with("digraph \"n\" {"), "{drawn}");
        assert!(
            drawn.contains(r#"v0 [label="the \"numbers\"\n(numbers)\nparallelism 2"];"#),
            "{drawn}"
        );
        assert!(drawn.contains(r#"v0 -> v1 [label="hash"];"#), "{drawn}");
    }
}

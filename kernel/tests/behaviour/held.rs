//! A held kernel gives nothing away: no batch, no stamp, no number; what waits for a record waits, reads are answered.

use weft_kernel::Input;
use weft_protocol::Fact;

use crate::node::{Node, effects, message};

fn held() -> Node {
    let mut node = Node::with_agents("alpha", &["echo"]);
    node.next.held = true;
    node.crash();
    node
}

#[test]
fn nothing_leaves_a_held_kernel_and_nothing_is_lost_in_it() {
    let mut node = held();
    let before = node.kernel.chain_state().clone();
    assert_eq!(effects(&node.run(Input::Woken)), Vec::<String>::new());
    let asked = node.asked(1, message("nobody", "hi", "executed"));
    assert_eq!(effects(&node.run(asked)), Vec::<String>::new());
    assert_eq!(node.kernel.next_wakeup(), None, "it does not ask to be woken again and again");
    assert_eq!(*node.kernel.chain_state(), before);
    node.run(Input::Released);
    assert_eq!(node.kinds().split_off(4)[..1], ["node.boot"]);
    let answered = node.kinds();
    assert!(answered.contains(&"ipc.batch".to_owned()), "{answered:?}");
}

#[test]
fn the_numbers_of_a_restored_node_lie_far_above_all_that_it_may_have_given() {
    let numbers = |node: &Node| {
        let boots = node.facts().into_iter().filter_map(|fact| match fact {
            Fact::Boot(boot) => Some(boot.counter),
            _ => None,
        });
        boots.collect::<Vec<_>>()
    };
    let mut node = Node::unborn("alpha", crate::node::at_once());
    node.run(Input::Woken);
    let backup = node.disk.clone();
    node.next.skip_numbers = true;
    node.crash();
    node.run(Input::Woken);
    let first = numbers(&node)[1].expect("a number");
    assert!(first > 1 << 44, "{first}");
    // Restored once more from the same backup, with the chain that members held: its reservation is the old one.
    node.disk.reserved = backup.reserved;
    node.crash();
    node.run(Input::Woken);
    assert!(numbers(&node)[2].expect("a number") > first + (1 << 44));
}

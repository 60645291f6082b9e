//! Times as text, as the kernel writes them.

pub(crate) use weft_kernel::time_text as time;

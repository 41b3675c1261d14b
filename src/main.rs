#[cfg_attr(not(test), expect(dead_code, reason = "nothing reads inputs yet"))]
mod inputs;

fn main() {}

#[cfg_attr(not(test), expect(dead_code, reason = "nothing reads images yet"))]
#[expect(unused_imports, reason = "nothing reads images yet")]
mod image;
#[cfg_attr(not(test), expect(dead_code, reason = "nothing reads inputs yet"))]
mod inputs;

#[cfg_attr(not(test), expect(dead_code, reason = "nothing makes tags yet"))]
mod tags;

fn main() {}

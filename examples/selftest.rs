use striate::device::{Device, GpuOptions};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let name = args.get(1).map_or("gpu", |s| s.as_str());
    let filter = args.get(2).map_or("", |s| s.as_str());
    let device = if name == "cpu" {
        Device::cpu()
    } else {
        Device::gpu_with(name, GpuOptions { guard: true, ..GpuOptions::from_env() }).unwrap()
    };
    println!("{device} {:?}", device.profile());
    let t = std::time::Instant::now();
    let r = striate::selftest::run(&device, filter, |r| {
        println!(
            "{:28} {:3} cases  {:8.4} {:24} {}",
            r.op,
            r.n_cases,
            r.worst_share,
            r.worst_case,
            if r.passed() { "ok" } else { "FAILED" }
        );
        for f in r.failures.iter().take(3) {
            println!("    {}", f);
        }
    });
    println!("{} ops, {} failed, {:?} {:?}", r.len(), r.iter().filter(|r| !r.passed()).count(), t.elapsed(), device.stats());
}

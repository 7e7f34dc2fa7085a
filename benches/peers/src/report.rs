//! The figures, as a file and as a table.

use std::path::PathBuf;

use crate::Row;

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The path of `peers.json`, in the directory in which cargo keeps what it builds.
fn path() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), PathBuf::from)
        .join("peers.json")
}

pub fn write(rows: &[Row]) {
    let json = serde_json::to_string_pretty(rows).expect("rows are JSON");
    let path = path();
    std::fs::create_dir_all(path.with_file_name("")).expect("the target directory can be made");
    std::fs::write(&path, json + "\n").expect("the rows can be written");
    println!("\nwritten to {}", path.display());
}

/// Reads the figures that were written.
pub fn read() -> Vec<Row> {
    let json = std::fs::read_to_string(path()).expect("the rows were written");
    serde_json::from_str(&json).expect("they are rows")
}

/// Prints for each mix and size the floor, keyward, the best rival, and how keyward compares with them.
pub fn print(rows: &[Row]) {
    println!(
        "\n| mix | bindings | floor ns | keyward ns | of the floor | best rival ns | rival | faster |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for row in rows.iter().filter(|row| row.design == "keyward") {
        let same = || {
            rows.iter()
                .filter(|other| (other.mix, other.bindings) == (row.mix, row.bindings))
        };
        let floor = same()
            .find(|other| other.design == "floor")
            .map_or(f64::NAN, |floor| floor.ns);
        let rival = same()
            .filter(|other| !["floor", "keyward", "naive"].contains(&&*other.design))
            .min_by(|a, b| a.ns.total_cmp(&b.ns));
        let (name, ns) = rival.map_or(("", f64::NAN), |rival| (&*rival.design, rival.ns));
        println!(
            "| {} | {} | {floor:.1} | {:.1} | {:.2} | {ns:.1} | {name} | {:.1} |",
            row.mix,
            row.bindings,
            row.ns,
            row.ns / floor,
            ns / row.ns
        );
    }
}

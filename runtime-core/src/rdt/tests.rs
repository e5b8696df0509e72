//! Against a tree that looks like resctrl: this machine has none.

use super::*;

/// A new tree below the temporary directory, gone at the end.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("rdt-{}-{name}", std::process::id()));
        fs::create_dir_all(root.join("info")).unwrap();
        fs::create_dir_all(root.join("mon_groups")).unwrap();
        fs::write(root.join("info/last_cmd_status"), "ok\n").unwrap();
        fill(&root).unwrap();
        Self(root)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap_or_else(|e| format!("{path}: {e}"))
    }

    fn prepare(&self, plan: &Rdt) -> (Result<Groups>, Made) {
        let mut made = Made::default();
        (Groups::below(self.0.clone(), plan, &mut made, kernel_mkdir), made)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the kernel puts into a new group.
fn fill(group: &Path) -> io::Result<()> {
    fs::write(group.join("schemata"), "    MB:0= 100;1= 100\n    L3:0=7ff;1=07ff\n")?;
    fs::write(group.join("tasks"), "")
}

fn kernel_mkdir(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    if path.parent().and_then(Path::file_name).is_none_or(|name| name != "mon_groups") {
        fs::create_dir(path.join("mon_groups"))?;
    }
    fill(path)
}

fn plan(group: &str, own: bool, schemata: &[&str], monitoring: bool) -> Rdt {
    let line = |(index, line): (usize, &&str)| (format!("/linux/intelRdt/schemata/{index}"), (*line).to_owned());
    Rdt {
        group: group.to_owned(),
        own,
        schemata: schemata.iter().enumerate().map(line).collect(),
        monitoring: monitoring.then(|| "web".to_owned()),
    }
}

#[test]
fn an_own_group_is_made_filled_entered_and_removed() {
    let tree = Tree::new("own");
    let (groups, made) = tree.prepare(&plan("web", true, &["L3:0=f"], false));
    groups.unwrap().join(4711).unwrap();
    // The fake file is overwritten from its start; the kernel takes line by line.
    assert!(tree.read("web/schemata").starts_with("L3:0=f\n"), "{}", tree.read("web/schemata"));
    assert_eq!(tree.read("web/tasks"), "4711");
    assert_eq!(made, Made { group: Some(tree.0.join("web")), monitoring: None });
    // rmdir(2) of resctrl removes a group with its files; that of a real file system only empty ones.
    fs::remove_dir_all(tree.0.join("web")).unwrap();
    fs::create_dir(tree.0.join("web")).unwrap();
    remove(&made).unwrap();
    assert!(!tree.0.join("web").exists());
    remove(&made).unwrap();
}

#[test]
fn an_own_group_that_exists_is_somebody_elses() {
    let tree = Tree::new("taken");
    kernel_mkdir(&tree.0.join("web")).unwrap();
    let (groups, made) = tree.prepare(&plan("web", true, &[], false));
    assert!(groups.unwrap_err().to_string().contains("mkdir"));
    assert_eq!(made, Made::default());
}

#[test]
fn a_named_group_is_made_where_it_is_missing_and_stays() {
    let tree = Tree::new("named");
    let (groups, made) = tree.prepare(&plan("gold", false, &["L3:0=3;1=3", "MB:0=20"], false));
    groups.unwrap();
    assert!(tree.0.join("gold/schemata").exists());
    assert_eq!(made, Made::default());
}

#[test]
fn a_named_group_that_exists_is_compared() {
    let tree = Tree::new("compared");
    kernel_mkdir(&tree.0.join("gold")).unwrap();
    let before = tree.read("gold/schemata");
    for same in [&["L3:0=7ff;1=7ff", "MB:0=100;1=100"][..], &["L3:1=7FF"], &["L3:1=0x7ff"], &["MB:1=100"], &[]] {
        let (groups, _) = tree.prepare(&plan("gold", false, same, false));
        groups.unwrap_or_else(|e| panic!("{same:?}: {e}"));
    }
    for other in ["L3:0=7fe", "L3:2=7ff", "L2:0=7ff", "MB:0=90", "L3:", "L3:0", "rubbish"] {
        let (groups, made) = tree.prepare(&plan("gold", false, &[other], false));
        let error = groups.expect_err(other).to_string();
        assert!(error.contains("differ") && error.contains("/linux/intelRdt/schemata/0"), "{error}");
        assert_eq!(made, Made::default());
    }
    assert_eq!(tree.read("gold/schemata"), before);
}

#[test]
fn a_named_group_without_schemata_must_exist() {
    let tree = Tree::new("missing");
    let (groups, _) = tree.prepare(&plan("gold", false, &[], false));
    let error = groups.unwrap_err();
    assert_eq!(error.pointer(), Some("/linux/intelRdt/closID"));
    assert!(!tree.0.join("gold").exists());
}

#[test]
fn the_root_is_the_default_class() {
    let tree = Tree::new("root");
    let (groups, made) = tree.prepare(&plan("", false, &["L3:0=7ff"], true));
    groups.unwrap().join(12).unwrap();
    assert_eq!(tree.read("tasks"), "12");
    assert_eq!(tree.read("mon_groups/web/tasks"), "12");
    assert_eq!(made, Made { group: None, monitoring: Some(tree.0.join("mon_groups/web")) });
    let (groups, _) = tree.prepare(&plan("", false, &["L3:0=1"], false));
    assert!(groups.unwrap_err().to_string().contains("differ"));
}

#[test]
fn what_was_made_is_known_when_a_later_part_fails() {
    let tree = Tree::new("half");
    let refuse = |path: &Path| {
        if path.ends_with("mon_groups/web") { Err(io::ErrorKind::StorageFull.into()) } else { kernel_mkdir(path) }
    };
    fs::write(tree.0.join("info/last_cmd_status"), "out of RMIDs\n").unwrap();
    let mut made = Made::default();
    let error = Groups::below(tree.0.clone(), &plan("web", true, &[], true), &mut made, refuse).unwrap_err();
    assert!(error.to_string().contains("out of RMIDs"), "{error}");
    assert_eq!(made, Made { group: Some(tree.0.join("web")), monitoring: None });
}

#[test]
fn the_mount_is_found_by_its_type() {
    let line = "40 23 0:40 / /sys/fs/res\\040ctrl rw,relatime shared:9 - resctrl resctrl rw";
    assert_eq!(mount_point(line), Some(PathBuf::from("/sys/fs/res ctrl")));
    assert_eq!(mount_point("40 23 0:40 / /resctrl rw - tmpfs resctrl rw"), None);
}

//! Makes the directory of a Postgres: by `initdb`, or as a copy of one made before.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::{fs::OpenOptionsExt as _, fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{StartError, Tools, os_user::OsUser};

/// The administrator, in every cluster made here.
pub(crate) const SUPERUSER: &str = "postgres";
/// Enters the template's name, so that a change here makes a new one.
const TEMPLATE_FORMAT: u32 = 1;
/// Only ever the password of a Postgres that a test started.
pub(crate) const TEMPLATE_PASSWORD: &str = "natterjack";

/// Runs `initdb` for `data`, which must not exist. Nothing half made is left under that name. Blocking.
pub(crate) fn initialise(
    tools: &Tools,
    user: Option<&OsUser>,
    data: &Path,
    password: &str,
    disposable: bool,
) -> Result<(), StartError> {
    let parent = data.parent().unwrap_or(data);
    let unfinished = data.with_extension("new");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(StartError::io("removing", &unfinished))?;
    }
    let password_file = write_password(parent, user, password)?;
    let mut command = Command::new(tools.postgres_bin.join("initdb"));
    command
        .args(["-E", "UTF8", "-U", SUPERUSER, "-A", "scram-sha-256"])
        .arg("--pwfile")
        .arg(&password_file)
        .arg("-D")
        .arg(&unfinished)
        .args(locale());
    if disposable {
        // Small files are copied faster.
        command.args(["--no-sync", "--wal-segsize=1"]);
    } else {
        command.arg("--data-checksums");
    }
    let done = run_as(command, user, parent, "initdb");
    let _ = fs::remove_file(&password_file);
    done?;
    fs::rename(&unfinished, data).map_err(StartError::io("renaming", unfinished))
}

/// Bytewise order with full Unicode classes, where the system has it.
fn locale() -> &'static [&'static str] {
    if cfg!(target_os = "macos") { &["--locale=en_US.UTF-8"] } else { &["--locale=C.UTF-8"] }
}

fn write_password(dir: &Path, user: Option<&OsUser>, password: &str) -> Result<PathBuf, StartError> {
    let path = dir.join("initdb.password");
    let _ = fs::remove_file(&path);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{password}"))
        .map_err(StartError::io("writing a file", &path))?;
    if let Some(user) = user {
        user.give(&path)?;
    }
    Ok(path)
}

fn run_as(
    mut command: Command,
    user: Option<&OsUser>,
    dir: &Path,
    program: &'static str,
) -> Result<(), StartError> {
    command.current_dir(dir);
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    let output = command.output().map_err(StartError::io("starting", program))?;
    if output.status.success() {
        return Ok(());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(StartError::SetUp { program, status: output.status, output: text })
}

/// Makes `data` as a copy of the template, which the first caller on a machine makes. Blocking.
pub(crate) fn copy_template(tools: &Tools, user: Option<&OsUser>, data: &Path) -> Result<(), StartError> {
    let template = template(tools, user)?;
    copy(&template, data)
}

/// `cp -Rp` keeps owners and modes, and shares blocks where the file system can.
fn copy(from: &Path, to: &Path) -> Result<(), StartError> {
    let mut command = Command::new("cp");
    command.arg("-Rp").arg(from).arg(to);
    run_as(command, None, Path::new("/"), "cp")
}

fn template(tools: &Tools, user: Option<&OsUser>) -> Result<PathBuf, StartError> {
    let root = target_dir().join("stack");
    fs::create_dir_all(&root).map_err(StartError::io("creating a directory", &root))?;
    let owner = user.map_or_else(|| rustix::process::geteuid().as_raw(), |user| user.uid);
    let version = &tools.postgres_version;
    let path = root.join(format!("postgres-{version}-{owner}-{TEMPLATE_FORMAT}"));
    if path.exists() {
        return Ok(path);
    }
    let lock_path = path.with_extension("lock");
    let lock = File::create(&lock_path).map_err(StartError::io("creating a file", &lock_path))?;
    lock.lock().map_err(StartError::io("locking", &lock_path))?;
    if !path.exists() {
        make_template(tools, user, &path)?;
    }
    Ok(path)
}

/// In a temporary directory first: the one for templates may be out of reach for the user of Postgres.
fn make_template(tools: &Tools, user: Option<&OsUser>, path: &Path) -> Result<(), StartError> {
    let temporary = temporary_dir(user)?;
    let made = temporary.path().join("data");
    initialise(tools, user, &made, TEMPLATE_PASSWORD, true)?;
    let unfinished = path.with_extension("new");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(StartError::io("removing", &unfinished))?;
    }
    copy(&made, &unfinished)?;
    fs::rename(&unfinished, path).map_err(StartError::io("renaming", unfinished))
}

/// A directory for one Postgres that its user can enter.
pub(crate) fn temporary_dir(user: Option<&OsUser>) -> Result<TempDir, StartError> {
    let dir = TempDir::with_prefix("postgres-")
        .map_err(StartError::io("creating a directory", std::env::temp_dir()))?;
    hand_over(dir.path(), user)?;
    Ok(dir)
}

/// Gives the directory to the user of Postgres; it is private to that user.
pub(crate) fn hand_over(dir: &Path, user: Option<&OsUser>) -> Result<(), StartError> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
        .map_err(StartError::io("changing the mode", dir))?;
    user.map_or(Ok(()), |user| user.give(dir))
}

fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from)
}

//! Finds libtensorflow and opens it: from a Python wheel, an archive of the C library, or a directory of the system.

use std::env;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::{Code, Error};

#[cfg(not(target_os = "macos"))]
mod names {
    /// The file names of the C library, in the C archive and in the wheel.
    pub(super) const LIBRARY: [&str; 4] =
        ["libtensorflow.so", "libtensorflow.so.2", "libtensorflow_cc.so.2", "libtensorflow_cc.so"];
    /// The file name of the second library, which the C library needs beside it.
    pub(super) const FRAMEWORK: &str = "libtensorflow_framework.so.2";
    /// The file name in the wheel, to which other libraries of the wheel refer.
    pub(super) const WHEEL: &str = "libtensorflow_cc.so.2";
    pub(super) const PATH_VARIABLE: &str = "LD_LIBRARY_PATH";
}

#[cfg(target_os = "macos")]
mod names {
    pub(super) const LIBRARY: [&str; 4] =
        ["libtensorflow.dylib", "libtensorflow.2.dylib", "libtensorflow_cc.2.dylib", "libtensorflow_cc.dylib"];
    pub(super) const FRAMEWORK: &str = "libtensorflow_framework.2.dylib";
    pub(super) const WHEEL: &str = "libtensorflow_cc.2.dylib";
    pub(super) const PATH_VARIABLE: &str = "DYLD_LIBRARY_PATH";
}

/// How long `python3` may take to tell where its tensorflow is. A cold start takes well under a second.
const PYTHON_WAIT: Duration = Duration::from_secs(10);

/// The program that tells where tensorflow is. It does not import tensorflow, which would take seconds.
const PYTHON_QUESTION: &str = "import importlib.util, os; s = importlib.util.find_spec('tensorflow'); \
     print(os.path.dirname(s.origin) if s and s.origin else '')";

/// The wheel that has the library. `tensorflow-cpu` is the smaller one; there is none for Linux on ARM and none for macOS.
const WHEEL_PACKAGE: &str = if cfg!(all(target_os = "linux", target_arch = "x86_64")) { "tensorflow-cpu" } else { "tensorflow" };

static OPENED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Finds libtensorflow, opens it and gives its path. The first call in a process decides; later calls give the same path.
///
/// `explicit` is a directory or a file; if it is given, no other place is searched. Otherwise the places are, in this order:
/// `TENSORFLOW_DIR` and the path variable of the dynamic loader; the Python environment that holds the executable, that of
/// `VIRTUAL_ENV`, and `.venv` in the working directory; the environment of `python3`; `/usr/local/lib` and `/usr/lib`.
///
/// The function sets the environment variable `TENSORFLOW_DIR` for a moment, so it must be called before other threads start.
///
/// # Errors
/// `NotFound`, which lists the searched places and a command that installs TensorFlow; `Internal` if the library does not open.
pub fn load_library(explicit: Option<&Path>) -> Result<PathBuf, Error> {
    let mut opened = OPENED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(path) = &*opened {
        return Ok(path.clone());
    }
    let library = find(explicit)?;
    open(&library)?;
    *opened = Some(library.clone());
    Ok(library)
}

/// The version of the opened library, such as `2.21.0`. Empty before [`load_library`] is called.
#[must_use]
pub fn version() -> String {
    let opened = OPENED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_some();
    if opened {
        tensorflow::version().unwrap_or_default()
    } else {
        String::new()
    }
}

fn find(explicit: Option<&Path>) -> Result<PathBuf, Error> {
    let mut looked = Vec::new();
    let mut look = |place: PathBuf| {
        let found = library_at(&place);
        looked.push(place);
        found
    };
    let found = match explicit {
        Some(place) => look(place.to_path_buf()),
        None => configured_places()
            .into_iter()
            .find_map(&mut look)
            .or_else(|| python_package().and_then(&mut look))
            .or_else(|| ["/usr/local/lib", "/usr/lib"].into_iter().map(PathBuf::from).find_map(&mut look)),
    };
    found.ok_or_else(|| {
        let places: Vec<String> = looked.iter().map(|place| format!("  {}", place.display())).collect();
        Error::new(
            Code::NotFound,
            format!(
                "libtensorflow not found; looked in\n{}\nto mend it: pip install {WHEEL_PACKAGE} (or name its directory with --tensorflow_lib)",
                places.join("\n")
            ),
        )
    })
}

/// Finds the library in the directory `place`, or takes `place` itself if it is a file.
fn library_at(place: &Path) -> Option<PathBuf> {
    if place.is_file() {
        return Some(place.to_path_buf());
    }
    names::LIBRARY.iter().map(|name| place.join(name)).find(|path| path.is_file())
}

fn configured_places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = env::var_os("TENSORFLOW_DIR").map(PathBuf::from).into_iter().collect();
    if let Some(path) = env::var_os(names::PATH_VARIABLE) {
        places.extend(env::split_paths(&path).filter(|place| !place.as_os_str().is_empty()));
    }
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.to_path_buf()));
    let environments = [beside, env::var_os("VIRTUAL_ENV").map(PathBuf::from), Some(PathBuf::from(".venv"))];
    places.extend(environments.into_iter().flatten().flat_map(|environment| packages_in(&environment)));
    places
}

/// Finds `lib/python3*/site-packages/tensorflow` in a Python environment.
fn packages_in(environment: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(environment.join("lib")).into_iter().flatten().filter_map(Result::ok);
    let pythons = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"));
    pythons.map(|python| python.path().join("site-packages/tensorflow")).filter(|place| place.is_dir()).collect()
}

fn python_package() -> Option<PathBuf> {
    let mut python = Command::new("python3")
        .args(["-c", PYTHON_QUESTION])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + PYTHON_WAIT;
    while python.try_wait().ok()?.is_none() {
        if Instant::now() > deadline {
            let _ = python.kill();
            let _ = python.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut answer = String::new();
    python.stdout.take()?.read_to_string(&mut answer).ok()?;
    let place = answer.trim();
    (!place.is_empty()).then(|| PathBuf::from(place))
}

/// Opens the library through a private directory of links, whose names are those that the binding and the wheel's libraries expect.
fn open(library: &Path) -> Result<(), Error> {
    let failed = |what: &str, error: &dyn std::fmt::Display| Error::internal(format!("`{}`: {what}: {error}", library.display()));
    let library = fs::canonicalize(library).map_err(|error| failed("cannot be read", &error))?;
    let directory = library.parent().unwrap_or(Path::new("/"));
    let links = tempfile::Builder::new().prefix("tfweb-").tempdir().map_err(|error| failed("no directory for links", &error))?;
    let link = |from: &Path, name: &str| symlink(from, links.path().join(name)).map_err(|error| failed("cannot be linked", &error));
    // The binding opens the first name. The library's own dependencies ask the loader for the others.
    link(&library, names::LIBRARY[0])?;
    link(&library, names::WHEEL)?;
    link(&directory.join(names::FRAMEWORK), names::FRAMEWORK)?;
    let before = env::var_os("TENSORFLOW_DIR");
    env::set_var("TENSORFLOW_DIR", links.path());
    let loaded = tensorflow::library::load();
    match before {
        Some(value) => env::set_var("TENSORFLOW_DIR", value),
        None => env::remove_var("TENSORFLOW_DIR"),
    }
    loaded.map_err(|error| failed("cannot be opened", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_explicit_place_is_named_with_the_mending_command() {
        let error = find(Some(Path::new("/nowhere/at/all"))).unwrap_err();
        assert_eq!(error.code, Code::NotFound);
        assert!(error.message.contains("/nowhere/at/all") && error.message.contains("pip install tensorflow"), "{error}");
    }

    #[test]
    fn either_naming_is_found() {
        for name in names::LIBRARY {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join(name), "").unwrap();
            assert_eq!(find(Some(directory.path())).unwrap(), directory.path().join(name));
            assert_eq!(find(Some(&directory.path().join(name))).unwrap(), directory.path().join(name));
        }
    }

    #[test]
    fn a_python_environment_is_searched() {
        let environment = tempfile::tempdir().unwrap();
        let package = environment.path().join("lib/python3.11/site-packages/tensorflow");
        fs::create_dir_all(&package).unwrap();
        assert_eq!(packages_in(environment.path()), [package]);
    }
}

//! What happens when the process breaks: a report before it ends.
//!
//! ```text
//! SIGSEGV SIGBUS SIGFPE SIGILL SIGABRT ─▶ registers ─▶ stack, as addresses ─▶ the same with names ─▶ what the server adds
//!                                      ─▶ the signal again, with its default action: the exit status says what happened
//! ```
//! A handler runs in the midst of anything, so it begins with what needs nothing: no memory is allocated up to the addresses of
//! the stack. From there on it takes its chance: an allocator or a lock that is in disorder may stop it. An alarm ends the
//! process then, and what was written so far is in the log. A second fault, of whichever thread, ends the process as well.
//!
//! Each thread that is to report has a large stack for it (`prepare_thread`): the one that Rust's runtime gives its threads
//! suffices to say that the stack has overflown, and no name can be looked up on it.
//!
//! A thread that lives can be asked for its stack, too (`show_thread`): the watchdog does.
//!
//! Sources: sigaction(2), signal-safety(7); Redis, `sigsegvHandler`, whose order and headings harnesses know.

use crate::base::sync::hint::{AtomicBool, AtomicI32, Ordering};
use std::backtrace::Backtrace;
use std::ffi::{c_int, c_void};
use std::fmt::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

const SIGNALS: [(c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGABRT, "SIGABRT"),
];
/// Frames of the stack that are shown.
const FRAMES_MAX: usize = 100;
/// Seconds that the report may take.
const PATIENCE_S: u32 = 10;
/// Bytes of a handler's own stack: names are looked up on it.
const STACK_LEN: usize = 256 << 10;

/// Where the report goes, and what is to be added to it.
pub struct Reporter {
    /// Appends bytes to the log; allocates nothing.
    pub sink: fn(&[u8]),
    /// What the server knows about itself.
    pub more: fn(&mut dyn Write),
    /// Name and version of the program.
    pub title: &'static str,
}

static REPORTER: OnceLock<Reporter> = OnceLock::new();
static IS_REPORTING: AtomicBool = AtomicBool::new(false);

/// A line on its way to the sink. What does not fit is cut off.
struct Line {
    bytes: [u8; 1024],
    len: usize,
    sink: fn(&[u8]),
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if byte == b'\n' || self.len == self.bytes.len() - 1 {
                self.bytes[self.len] = b'\n';
                (self.sink)(&self.bytes[..=self.len]);
                self.len = 0;
            }
            if byte != b'\n' {
                self.bytes[self.len] = byte;
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// Says where reports go, once per process, and prepares the calling thread. Nothing is reported before `enable`.
pub fn prepare(reporter: Reporter) {
    let _ = REPORTER.set(reporter); // A second call changes nothing.
    let mut frames = [std::ptr::null_mut::<c_void>(); 1];
    // The first call loads a library, which must not happen inside a handler.
    // SAFETY: the array has room for one frame.
    unsafe { libc::backtrace(frames.as_mut_ptr(), 1) };
    prepare_thread();
}

/// Switches reports on or off for the whole process.
pub fn enable(is_enabled: bool) {
    for (signal, _) in SIGNALS {
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_signal;
        // SAFETY: a sigaction is plain data, and zeros are a valid one: default action, empty mask, no flags.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        if is_enabled {
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER | libc::SA_RESETHAND;
        }
        // SAFETY: the action is complete; the old one is not wanted.
        unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    }
}

/// Gives the calling thread a stack of its own for handlers, so that a stack that has overflown can be reported, too. It stays
/// until the thread ends.
/// Cost: address space; memory, when a handler runs.
pub fn prepare_thread() {
    thread_local!(static STACK: HandlerStack = HandlerStack::new());
    let _ = STACK.try_with(|_| ()); // A thread that is about to end does without.
}

/// Pages that the thread's handlers run on; null: there are none to be had, and they run on what the runtime has prepared.
struct HandlerStack(*mut c_void);

impl HandlerStack {
    fn new() -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new pages, wherever there is room.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), STACK_LEN, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return HandlerStack(std::ptr::null_mut());
        }
        let stack = libc::stack_t { ss_sp: start, ss_flags: 0, ss_size: STACK_LEN };
        // SAFETY: the pages are this thread's until `drop`, which takes them out of use first.
        unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
        HandlerStack(start)
    }
}

impl Drop for HandlerStack {
    fn drop(&mut self) {
        if self.0.is_null() {
            return;
        }
        let none = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: STACK_LEN };
        // SAFETY: from here on handlers run on the thread's own stack; none is running now.
        unsafe { libc::sigaltstack(&none, std::ptr::null_mut()) };
        // SAFETY: `new` has mapped these pages, and nothing uses them any more.
        unsafe { libc::munmap(self.0, STACK_LEN) };
    }
}

/// The thread that `show_thread` waits for, by its number in the kernel; 0: none.
static SHOWN: AtomicI32 = AtomicI32::new(0);

/// The signal that asks a thread where it is.
fn where_are_you() -> c_int {
    libc::SIGRTMIN() + 3
}

/// Writes to the log where a thread of this process is: its stack, as addresses. Returns when that is done, or is not to be
/// had. One at a time.
pub fn show_thread(thread: i32) {
    let handler: extern "C" fn(c_int) = on_question;
    // SAFETY: a sigaction is plain data, and zeros are a valid one.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the action is complete; the old one is not wanted.
    unsafe { libc::sigaction(where_are_you(), &action, std::ptr::null_mut()) };
    SHOWN.store(thread, Ordering::Release);
    // SAFETY: numbers only. A thread that is no more answers with an error, and is waited for in vain.
    unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, where_are_you()) };
    for _ in 0..100 {
        if SHOWN.load(Ordering::Acquire) == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    SHOWN.store(0, Ordering::Release);
}

/// Runs on the thread that is asked, in the midst of anything: no memory is allocated.
extern "C" fn on_question(_: c_int) {
    if SHOWN.load(Ordering::Acquire) == 0 {
        return;
    }
    if let Some(reporter) = REPORTER.get() {
        let _ = addresses(&mut Line { bytes: [0; 1024], len: 0, sink: reporter.sink }); // Writing to a Line cannot fail.
    }
    SHOWN.store(0, Ordering::Release);
}

extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    if IS_REPORTING.swap(true, Ordering::AcqRel) {
        loop {
            // SAFETY: no arguments. Another thread's report is under way; it ends the process.
            unsafe { libc::pause() };
        }
    }
    // SAFETY: no arguments that could be wrong; the alarm's default action ends the process.
    unsafe { libc::alarm(PATIENCE_S) };
    if let Some(reporter) = REPORTER.get() {
        let mut out = Line { bytes: [0; 1024], len: 0, sink: reporter.sink };
        // SAFETY: the kernel passes valid pointers, or null in an old calling convention.
        let (info, context) = unsafe { (info.as_ref(), context.cast::<libc::ucontext_t>().as_ref()) };
        let _ = report(&mut out, reporter, signal, info, context); // Writing to a Line cannot fail.
    }
    // SAFETY: the handler was reset on entry: this is the default action.
    unsafe { libc::raise(signal) };
}

fn report(
    out: &mut Line,
    reporter: &Reporter,
    signal: c_int,
    info: Option<&libc::siginfo_t>,
    context: Option<&libc::ucontext_t>,
) -> fmt::Result {
    let name = SIGNALS.iter().find(|known| known.0 == signal).map_or("unknown", |known| known.1);
    write!(out, "\n\n=== REDIS BUG REPORT START: Cut & paste starting from here ===\n")?;
    writeln!(
        out,
        "{} crashed by signal: {signal} ({name}), si_code: {}",
        reporter.title,
        info.map_or(0, |it| it.si_code)
    )?;
    if let Some(info) = info.filter(|_| signal != libc::SIGABRT) {
        // SAFETY: of a fault the kernel gives the address; of a signal that was sent it is some number.
        writeln!(out, "Accessing address: {:p}", unsafe { info.si_addr() })?;
    }
    if let Some(context) = context {
        writeln!(out, "\n------ REGISTERS ------")?;
        registers(out, context)?;
    }
    writeln!(out, "\n------ STACK TRACE ------")?;
    addresses(out)?;
    let names = Backtrace::force_capture();
    write!(out, "\nNames:\n{names}\n")?;
    writeln!(out, "------ STACK TRACE DONE ------")?;
    (reporter.more)(out);
    write!(out, "\n=== REDIS BUG REPORT END. Make sure to include from START to END. ===\n")?;
    writeln!(out, "The addresses above belong to this very program file: addr2line -Cfie <file> <offset> names them.")
}

/// The stack as offsets into the files of the program, innermost first.
fn addresses(out: &mut Line) -> fmt::Result {
    let mut frames = [std::ptr::null_mut::<c_void>(); FRAMES_MAX];
    // SAFETY: the array has room for so many frames.
    let count = unsafe { libc::backtrace(frames.as_mut_ptr(), FRAMES_MAX as c_int) };
    for &frame in frames.iter().take(count.max(0) as usize) {
        // SAFETY: plain data: zeros are a valid one.
        let mut place: libc::Dl_info = unsafe { std::mem::zeroed() };
        // SAFETY: any address may be asked about; the answer is written to `place`.
        let is_known = unsafe { libc::dladdr(frame, &mut place) } != 0;
        if !is_known || place.dli_fname.is_null() {
            writeln!(out, "{frame:p}")?;
            continue;
        }
        // SAFETY: the loader's own string, terminated by a null.
        let file = unsafe { std::ffi::CStr::from_ptr(place.dli_fname) }.to_str().unwrap_or("?");
        writeln!(out, "{file}(+{:#x})[{frame:p}]", frame as usize - place.dli_fbase as usize)?;
    }
    Ok(())
}

#[cfg(target_arch = "x86_64")]
fn registers(out: &mut Line, context: &libc::ucontext_t) -> fmt::Result {
    const NAMES: [(&str, c_int); 18] = [
        ("RAX", libc::REG_RAX),
        ("RBX", libc::REG_RBX),
        ("RCX", libc::REG_RCX),
        ("RDX", libc::REG_RDX),
        ("RDI", libc::REG_RDI),
        ("RSI", libc::REG_RSI),
        ("RBP", libc::REG_RBP),
        ("RSP", libc::REG_RSP),
        ("R8 ", libc::REG_R8),
        ("R9 ", libc::REG_R9),
        ("R10", libc::REG_R10),
        ("R11", libc::REG_R11),
        ("R12", libc::REG_R12),
        ("R13", libc::REG_R13),
        ("R14", libc::REG_R14),
        ("R15", libc::REG_R15),
        ("RIP", libc::REG_RIP),
        ("EFL", libc::REG_EFL),
    ];
    for (index, (name, at)) in NAMES.iter().enumerate() {
        let end = if index % 3 == 2 { "\n" } else { " " };
        write!(out, "{name}:{:016x}{end}", context.uc_mcontext.gregs[*at as usize])?;
    }
    Ok(())
}

#[cfg(target_arch = "aarch64")]
fn registers(out: &mut Line, context: &libc::ucontext_t) -> fmt::Result {
    let machine = &context.uc_mcontext;
    for (index, value) in machine.regs.iter().enumerate() {
        let end = if index % 4 == 3 { "\n" } else { " " };
        write!(out, "X{index:02}:{value:016x}{end}")?;
    }
    writeln!(out, "\nSP:{:016x} PC:{:016x} pstate:{:016x}", machine.sp, machine.pc, machine.pstate)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn registers(out: &mut Line, _: &libc::ucontext_t) -> fmt::Result {
    writeln!(out, "not known for this processor")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::sync::Mutex;

    static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    fn keep(bytes: &[u8]) {
        WRITTEN.lock().unwrap().extend_from_slice(bytes);
    }

    #[test]
    fn a_report_has_its_parts_in_their_order() {
        let reporter = Reporter { sink: keep, more: |out| out.write_str("\nmore\n").unwrap(), title: "ringdb 0" };
        let mut out = Line { bytes: [0; 1024], len: 0, sink: keep };
        report(&mut out, &reporter, libc::SIGSEGV, None, None).unwrap();
        writeln!(out, "{}", "x".repeat(3000)).unwrap();
        let text = String::from_utf8(WRITTEN.lock().unwrap().clone()).unwrap();
        let parts =
            ["REPORT START", "ringdb 0 crashed by signal: 11", "STACK TRACE -", "STACK TRACE DONE", "\nmore\n", "END"];
        let places: Vec<_> =
            parts.iter().map(|part| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"))).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(text.lines().all(|line| line.len() < 1024) && text.matches('x').count() >= 3000);
    }
}

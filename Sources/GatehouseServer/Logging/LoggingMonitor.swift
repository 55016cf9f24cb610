internal import Glibc

/// A value behind a lock, and a way to wait until it fulfils a condition.
///
/// `Mutex` has no such wait, and a semaphore cannot be waited on for two things.
final class Monitor<Value>: @unchecked Sendable {
    // Checked by hand: `value` is touched under `mutex` alone, and both primitives stay where they were allocated.
    private var value: Value
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init(_ value: sending Value) {
        self.value = value
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_mutex_init(self.mutex, nil)
        pthread_cond_init(self.changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(self.changed)
        pthread_mutex_destroy(self.mutex)
        self.changed.deallocate()
        self.mutex.deallocate()
    }

    func withLock<Result>(_ body: (inout Value) -> Result) -> Result {
        pthread_mutex_lock(self.mutex)
        defer { pthread_mutex_unlock(self.mutex) }
        return body(&self.value)
    }

    /// Wakes those that wait, after a change that their condition may depend on.
    func signal() {
        pthread_cond_broadcast(self.changed)
    }

    /// Blocks the thread until `condition` holds.
    ///
    /// - Parameter deadline: nanoseconds of the monotonic clock; nil: none.
    /// - Returns: false when the deadline passed first.
    @discardableResult
    func wait(until deadline: UInt64?, _ condition: (Value) -> Bool) -> Bool {
        var time = timespec()
        if let deadline {
            time.tv_sec = Int(deadline / 1_000_000_000)
            time.tv_nsec = Int(deadline % 1_000_000_000)
        }
        pthread_mutex_lock(self.mutex)
        defer { pthread_mutex_unlock(self.mutex) }
        while !condition(self.value) {
            if deadline == nil {
                pthread_cond_wait(self.changed, self.mutex)
            } else if pthread_cond_timedwait(self.changed, self.mutex, &time) == ETIMEDOUT {
                return condition(self.value)
            }
        }
        return true
    }
}

/// Runs `body` on a thread of its own, which takes no signals, until it returns.
func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Job {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var all = sigset_t()
    var previous = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &previous)
    defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
    var thread = pthread_t()
    let job = Unmanaged.passRetained(Job(body))
    let error = pthread_create(
        &thread, nil,
        { argument in
            argument.map { Unmanaged<Job>.fromOpaque($0).takeRetainedValue().body() }
            return nil
        }, job.toOpaque())
    precondition(error == 0, "the system refuses another thread")
    pthread_detach(thread)
}

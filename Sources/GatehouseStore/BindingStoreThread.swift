internal import GatehousePolicy
internal import Glibc
internal import Synchronization

// The thread that writes: what waits, every half second.

extension BindingStore {
    /// Starts the thread that writes, until `stop`; first it forgets what has expired.
    ///
    /// - Parameter now: seconds since 1970.
    public func start(now: Int64) throws(StoreError) {
        self.started.store(now, ordering: .relaxed)
        let box = Unmanaged.passRetained(self)
        var id = pthread_t()
        let status = pthread_create(
            &id, nil,
            { context in
                guard let context else { return nil }
                let store = Unmanaged<BindingStore>.fromOpaque(context).takeRetainedValue()
                store.work()
                return nil
            }, box.toOpaque())
        guard status == 0 else {
            box.release()
            throw StoreError("the binding store cannot start its thread: \(String(cString: strerror(status)))")
        }
        self.thread.withLock { $0 = id }
    }

    /// Writes what waits, and ends the thread.
    public func stop() {
        let thread = self.thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        self.state.withLock { $0.isStopping = true }
        if let thread { pthread_join(thread, nil) }
    }

    private func work() {
        var writer: BindingWriter?
        var isFailing = false
        var hasPurged = false
        while true {
            let next = ContinuousClock.now + Self.interval
            let (pending, isStopping) = self.state.withLock { state in
                defer { state.pending = [:] }
                return (state.pending, state.isStopping)
            }
            do throws(StoreError) {
                try self.renew(&writer)
                if !hasPurged { try writer?.purge(now: self.started.load(ordering: .relaxed)) }
                hasPurged = true
                if !pending.isEmpty { try writer?.write(pending) }
                self.state.withLock { $0.statistics.written += pending.count }
                if isFailing { self.report(.writesAgain) }
                isFailing = false
            } catch {
                // Another connection may do better, unless this one alone still has the file.
                if writer?.isCurrent == true { writer = nil }
                self.keep(pending)
                if !isFailing { self.report(.failing(error)) }
                isFailing = true
            }
            if isStopping { return }
            // In short steps, so that a stop need not wait; not at all where the writing took as long.
            while ContinuousClock.now < next, !self.state.withLock({ $0.isStopping }) { usleep(50_000) }
        }
    }

    /// Opens the file where it is not open, and puts it back where it was taken away: the open connection still reads it.
    private func renew(_ writer: inout BindingWriter?) throws(StoreError) {
        if let writer, writer.isCurrent { return }
        if let old = writer {
            makeDirectory(self.directory)
            let copy = self.path + ".new"
            unlink(copy)
            try old.database.copy(to: copy)
            // Closed before its successor is opened, whose journal bears the same name.
            writer = nil
            for suffix in ["-wal", "-shm"] { unlink(self.path + suffix) }
            guard rename(copy, self.path) == 0 else {
                throw StoreError("\(copy) cannot be renamed: \(String(cString: strerror(errno)))")
            }
            self.report(.restored(path: self.path))
        }
        writer = try BindingWriter(try Self.open(self.path))
    }

    /// Puts back what could not be written, beneath what came meanwhile.
    private func keep(_ failed: [BindingKey: Change]) {
        self.state.withLock { state in
            state.statistics.failures += 1
            for (key, change) in failed where state.pending[key] == nil {
                guard state.pending.count < Self.pendingLimit else {
                    state.statistics.dropped += 1
                    continue
                }
                state.pending[key] = change
            }
        }
    }
}

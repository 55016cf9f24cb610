internal import Glibc
public import NIOCore
internal import Synchronization

/// Who waits for a handshake: the connection's flow.
public protocol HandshakeOwner: AnyObject {
    /// The outcome of one `HandshakePool.submit`, on the loop given there. From here on the engine is the loop's again.
    ///
    /// It comes once a submit, also to an owner that has given the connection up.
    func handshake(of engine: TLSEngine, reached step: HandshakeStep)
}

/// The threads on which handshakes run, so that no established connection waits for one.
///
/// A step of a handshake under way goes before those that have yet to begin: its peer has waited already. How long a
/// handshake may take is its owner's to watch, who calls `abandon` on the engine and closes.
public final class HandshakePool: Sendable {
    private let queue: HandshakeQueue
    private let threads: Mutex<[pthread_t]>
    private let outboxes = Mutex<[ObjectIdentifier: CompletionOutbox]>([:])

    /// - Parameters:
    ///   - threads: nil: one a core.
    ///   - queueLimit: handshakes that may wait to begin (`edge.limits.handshake_queue`).
    public init(threads: Int? = nil, queueLimit: Int) {
        let queue = HandshakeQueue(limit: queueLimit)
        self.queue = queue
        let count = max(1, threads ?? System.coreCount)
        self.threads = Mutex((0..<count).compactMap { Self.startThread("tls-\($0)", queue) })
        precondition(self.threads.withLock { !$0.isEmpty }, "the system gives no thread for TLS handshakes")
    }

    deinit {
        self.shutdown()
    }

    /// Handshakes that wait for a thread.
    public var depth: Int { self.queue.depth }

    /// Has a thread feed `input` to `engine` and take its handshake as far as it goes. Until the owner is told of the outcome,
    /// neither it nor anyone else may touch the engine, but for `abandon`.
    ///
    /// - Returns: false where the queue is full: nothing will come of it, and the connection is to be closed
    ///   (`TLSFailure.overloaded`). Never for a handshake that has begun.
    public func submit(
        _ engine: TLSEngine, input: ByteBuffer, owner: any HandshakeOwner, on loop: any EventLoop
    ) -> Bool {
        let outbox = self.outboxes.withLock { outboxes in
            if let outbox = outboxes[ObjectIdentifier(loop)] { return outbox }
            let outbox = CompletionOutbox(loop)
            outboxes[ObjectIdentifier(loop)] = outbox
            return outbox
        }
        let hasBegun = engine.hasBegunHandshake
        return self.queue.add(HandshakeJob(engine: engine, owner: owner, input: input, outbox: outbox), first: hasBegun)
    }

    /// Ends the threads; handshakes that wait are told that they were closed. Blocks for as long as one step takes.
    public func shutdown() {
        let threads = self.threads.withLock { threads in
            defer { threads = [] }
            return threads
        }
        self.queue.close()
        for thread in threads where pthread_equal(thread, pthread_self()) == 0 { pthread_join(thread, nil) }
    }

    private static func startThread(_ name: String, _ queue: HandshakeQueue) -> pthread_t? {
        let start = Unmanaged.passRetained(HandshakeThread(name: name, queue: queue))
        var thread = pthread_t()
        guard pthread_create(&thread, nil, runHandshakeThread, start.toOpaque()) == 0 else {
            start.release()
            return nil
        }
        return thread
    }
}

private final class HandshakeThread: Sendable {
    let name: String
    let queue: HandshakeQueue

    init(name: String, queue: HandshakeQueue) {
        self.name = name
        self.queue = queue
    }
}

private func runHandshakeThread(_ start: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let start else { return nil }
    let thread = Unmanaged<HandshakeThread>.fromOpaque(start).takeRetainedValue()
    nameThread(thread.name)
    while let job = thread.queue.next() { job.run() }
    return nil
}

/// Names the calling thread for top and the debugger: at most 15 bytes.
private func nameThread(_ name: String) {
    let descriptor = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    _ = write(descriptor, name, name.utf8.count)
    close(descriptor)
}

/// One step of one handshake, and its outcome.
///
/// `@unchecked Sendable`: engine and owner belong to the loop that submitted them. The queue's lock hands the job to the one
/// thread that runs it, and the outbox's lock hands it back; the owner is used and let go on its loop alone.
private final class HandshakeJob: @unchecked Sendable {
    private let engine: TLSEngine
    private var owner: (any HandshakeOwner)?
    private let input: ByteBuffer
    private let outbox: CompletionOutbox
    private var step = HandshakeStep.failed(.closed)

    init(engine: TLSEngine, owner: any HandshakeOwner, input: ByteBuffer, outbox: CompletionOutbox) {
        self.engine = engine
        self.owner = owner
        self.input = input
        self.outbox = outbox
    }

    /// On a handshake thread.
    func run() {
        if !self.engine.isAbandoned {
            self.engine.receive(self.input)
            self.step = self.engine.handshake()
        }
        self.outbox.add(self)
    }

    /// Instead of `run`.
    func refuse() {
        self.outbox.add(self)
    }

    /// On the loop.
    func complete() {
        guard let owner = self.owner else { return }
        self.owner = nil  // here and not with the job, which the thread may still hold
        owner.handshake(of: self.engine, reached: self.step)
    }
}

/// A bounded queue on which threads wait. (`Mutex` has no condition to wait for.)
///
/// `@unchecked Sendable`: everything in it is touched under its lock.
private final class HandshakeQueue: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let hasWork = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let limit: Int
    private var begun = CircularBuffer<HandshakeJob>()
    private var new = CircularBuffer<HandshakeJob>()
    private var isClosed = false

    init(limit: Int) {
        self.limit = limit
        pthread_mutex_init(self.mutex, nil)
        pthread_cond_init(self.hasWork, nil)
    }

    deinit {
        pthread_cond_destroy(self.hasWork)
        pthread_mutex_destroy(self.mutex)
        self.hasWork.deallocate()
        self.mutex.deallocate()
    }

    private func locked<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(self.mutex)
        defer { pthread_mutex_unlock(self.mutex) }
        return body()
    }

    var depth: Int { self.locked { self.begun.count + self.new.count } }

    /// - Parameter first: whether the job goes before those that are not `first`, whatever the limit: there is at most one for
    ///   each connection in mid-handshake.
    func add(_ job: HandshakeJob, first: Bool) -> Bool {
        self.locked {
            guard !self.isClosed, first || self.new.count < self.limit else { return false }
            if first { self.begun.append(job) } else { self.new.append(job) }
            pthread_cond_signal(self.hasWork)
            return true
        }
    }

    /// Waits for a job; nil: the queue is closed.
    func next() -> HandshakeJob? {
        self.locked {
            while self.begun.isEmpty && self.new.isEmpty && !self.isClosed {
                pthread_cond_wait(self.hasWork, self.mutex)
            }
            return self.begun.popFirst() ?? self.new.popFirst()
        }
    }

    func close() {
        let rest = self.locked {
            defer {
                self.begun.removeAll()
                self.new.removeAll()
            }
            self.isClosed = true
            pthread_cond_broadcast(self.hasWork)
            return Array(self.begun) + Array(self.new)
        }
        for job in rest { job.refuse() }
    }
}

/// Outcomes on their way to one loop: those that gather before the loop turns to them reach it in one task.
private final class CompletionOutbox: Sendable {
    private let loop: any EventLoop
    private let waiting = Mutex<[HandshakeJob]>([])

    init(_ loop: any EventLoop) {
        self.loop = loop
    }

    func add(_ job: HandshakeJob) {
        let isFirst = self.waiting.withLock { waiting in
            waiting.append(job)
            return waiting.count == 1
        }
        guard isFirst else { return }
        self.loop.execute {
            let ready = self.waiting.withLock { waiting in
                defer { waiting = [] }
                return waiting
            }
            for job in ready { job.complete() }
        }
    }
}

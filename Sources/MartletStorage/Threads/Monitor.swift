internal import NIOCore

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#else
internal import Darwin
#endif

/// State behind a lock, with threads that wait for it to change.
///
/// `@unchecked`: the state is touched between lock and unlock only. `NIOLock` cannot be waited on.
final class Monitor<State>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var state: State

    init(_ state: sending State) {
        self.state = state
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        #if !canImport(Darwin)
        // The wall clock may jump.
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        #endif
        precondition(pthread_mutex_init(mutex, nil) == 0 && pthread_cond_init(changed, &attributes) == 0, "no lock")
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    func withLock<Result, Failure: Error>(_ body: (inout State) throws(Failure) -> Result) throws(Failure) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }

    /// Calls `body` until it gives something; between calls, waits for ``wakeOne()`` or ``wakeAll()``.
    func wait<Result>(_ body: (inout State) -> Result?) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&state) { return result }
            pthread_cond_wait(changed, mutex)
        }
    }

    /// What ``proceed(_:)`` does next.
    enum Step<Result> {
        case give(Result)
        case wait
        case waitAtMost(TimeAmount)
    }

    /// Calls `step` until it gives something. `isLate`: nobody has woken the thread since it said how long to wait.
    func proceed<Result>(_ step: (inout State, _ isLate: Bool) -> Step<Result>) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        var isLate = false
        while true {
            switch step(&state, isLate) {
            case .give(let result): return result
            case .wait:
                pthread_cond_wait(changed, mutex)
                isLate = false
            case .waitAtMost(let time): isLate = !wait(for: time)
            }
        }
    }

    /// - Returns: whether somebody has woken the thread.
    private func wait(for time: TimeAmount) -> Bool {
        #if canImport(Darwin)
        var rest = timespec(tv_sec: Int(time.nanoseconds / 1_000_000_000), tv_nsec: Int(time.nanoseconds % 1_000_000_000))
        return pthread_cond_timedwait_relative_np(changed, mutex, &rest) == 0
        #else
        var end = timespec()
        clock_gettime(CLOCK_MONOTONIC, &end)
        let nanoseconds = Int64(end.tv_nsec) + max(0, time.nanoseconds)
        end.tv_sec += Int(nanoseconds / 1_000_000_000)
        end.tv_nsec = Int(nanoseconds % 1_000_000_000)
        return pthread_cond_timedwait(changed, mutex, &end) == 0
        #endif
    }

    func wakeOne() { pthread_cond_signal(changed) }
    func wakeAll() { pthread_cond_broadcast(changed) }
}

/// A thread of our own, for what blocks on the disk. Neither an event loop nor the pool of Swift's tasks may do that.
///
/// `@unchecked`: the identifier never changes; where it is a pointer, as on Darwin, it is not `Sendable` by itself.
final class WorkerThread: @unchecked Sendable {
    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    private let id: pthread_t

    init(_ run: @escaping @Sendable () -> Void) { id = Self.create(Body(run)) }

    /// Returns once the thread has ended. Called once, and not by the thread itself.
    func join() { pthread_join(id, nil) }

    private static func create(_ body: Body) -> pthread_t {
        #if canImport(Darwin)
        let id = UnsafeMutablePointer<pthread_t?>.allocate(capacity: 1)
        #else
        let id = UnsafeMutablePointer<pthread_t>.allocate(capacity: 1)
        #endif
        defer { id.deallocate() }
        let code = pthread_create(id, nil, { WorkerThread.run($0) }, Unmanaged.passRetained(body).toOpaque())
        let created: pthread_t? = code == 0 ? id.pointee : nil
        guard let created else { preconditionFailure("the system gives no thread: error \(code)") }
        return created
    }

    private static func run(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        if let argument { Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run() }
        return nil
    }
}

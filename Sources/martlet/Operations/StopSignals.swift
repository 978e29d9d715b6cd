import Dispatch

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Reload on SIGHUP; a clean stop on the first SIGTERM or SIGINT, an end at once on the second.
///
/// Our own and not the service group's: that one has no second signal, and no reload.
///
/// `@unchecked Sendable` because dispatch's sources are not marked; they are kept here and touched no more.
final class StopSignals: @unchecked Sendable {
    private let sources: [any DispatchSourceSignal]

    init(reload: @escaping @Sendable () -> Void, stop: @escaping @Sendable () -> Void) {
        let queue = DispatchQueue(label: "signals")
        let registered = DispatchGroup()
        signal(SIGPIPE, SIG_IGN)
        // Read and written on the queue only.
        nonisolated(unsafe) var isStopping = false
        let ending = [SIGTERM, SIGINT].map { number in
            Self.source(number, queue, registered) {
                if isStopping { _exit(128 + number) }
                isStopping = true
                stop()
            }
        }
        sources = ending + [Self.source(SIGHUP, queue, registered, reload)]
        // A signal that came before that would be ignored.
        registered.wait()
    }

    private static func source(
        _ number: Int32, _ queue: DispatchQueue, _ registered: DispatchGroup, _ handler: @escaping @Sendable () -> Void
    ) -> any DispatchSourceSignal {
        // Dispatch sees the signal only if its default action is off.
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
        source.setEventHandler(handler: handler)
        registered.enter()
        source.setRegistrationHandler { registered.leave() }
        source.resume()
        return source
    }
}

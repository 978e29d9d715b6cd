import Foundation

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Writes log lines from a thread of its own, so that a slow disk or a pipe that nobody reads never holds up an event loop.
///
/// `@unchecked Sendable` because a condition guards everything; a log line is worth a lock, not an actor's hop.
package final class LogWriter: @unchecked Sendable {
    /// Bytes that may wait to be written; further lines are dropped and counted.
    package static let waitingBytesMax = 1 << 20

    private let path: String?
    private let condition = NSCondition()
    private var descriptor: Int32
    private var waiting: [UInt8] = []
    private var dropped = 0
    private var isWriting = false
    private var mustReopen = false
    private var isEnded = false

    /// - Parameter path: a file to append to; nil for standard error.
    /// - Throws: ``CommandFailure`` if the file cannot be opened.
    package init(path: String?) throws(CommandFailure) {
        self.path = path
        if let path { descriptor = try Self.open(path) } else { descriptor = STDERR_FILENO }
        let thread = Thread { [self] in work() }
        thread.name = "log"
        thread.start()
    }

    package func write(_ line: String) {
        condition.lock()
        defer { condition.unlock() }
        guard !isEnded else { return }
        guard waiting.count + line.utf8.count <= Self.waitingBytesMax else { return dropped += 1 }
        waiting.append(contentsOf: line.utf8)
        condition.broadcast()
    }

    /// The file is opened anew before the next line, under the same name.
    package func reopen() {
        condition.lock()
        mustReopen = path != nil
        condition.unlock()
    }

    package func flush() {
        condition.lock()
        while isWriting || !waiting.isEmpty { condition.wait() }
        condition.unlock()
    }

    /// Writes what waits and ends the thread. Later lines are dropped.
    package func end() {
        flush()
        condition.lock()
        isEnded = true
        condition.broadcast()
        condition.unlock()
    }

    private func work() {
        condition.lock()
        defer { condition.unlock() }
        while true {
            while waiting.isEmpty && !isEnded { condition.wait() }
            guard !waiting.isEmpty else { return }
            var batch: [UInt8] = []
            swap(&batch, &waiting)
            if dropped > 0 {
                batch.append(contentsOf: "(\(dropped) log lines were dropped: they came faster than they could be written)\n".utf8)
                dropped = 0
            }
            if mustReopen { openAnew() }
            isWriting = true
            let target = descriptor
            condition.unlock()
            Self.write(batch, to: target)
            condition.lock()
            isWriting = false
            condition.broadcast()
        }
    }

    private func openAnew() {
        mustReopen = false
        guard let path, let fresh = try? Self.open(path) else { return }
        close(descriptor)
        descriptor = fresh
    }

    private static func open(_ path: String) throws(CommandFailure) -> Int32 {
        let descriptor = systemOpen(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else {
            throw CommandFailure(.cannotCreate, "the log file \(path) cannot be opened: \(SystemError.last)", hint: "see log.destination")
        }
        return descriptor
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { systemWrite(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            // There is nowhere to complain to.
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

private func systemOpen(_ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 { open(path, flags, mode) }
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int { write(descriptor, bytes, count) }

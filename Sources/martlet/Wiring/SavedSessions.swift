import Crypto
package import MartletCore
import MartletNetwork
import NIOCore

/// The sessions that a server had when it stopped in order, in the data folder: the next one takes them over. They are taken once: what
/// becomes of sessions after that is not in the file.
package enum SavedSessions {
    private static let name = "/sessions.saved"
    /// Longest file that is written and read, in bytes: a hundred thousand sessions with ten kilobytes each that their clients have not
    /// acknowledged. Where it would be longer none is written, and all clients log in anew.
    package static let bytesMax = 1 << 30

    /// Writes nothing if there are none.
    package static func write(_ sessions: [SavedSession], to folder: String, bytesMax: Int = bytesMax) throws(CommandFailure) {
        guard !sessions.isEmpty else { return }
        var buffer = ByteBuffer()
        buffer.writeInteger(UInt32(clamping: sessions.count))
        for session in sessions {
            session.write(to: &buffer)
            guard buffer.readableBytes + SHA256.byteCount <= bytesMax else {
                throw CommandFailure(.cannotCreate, "the \(sessions.count) sessions take more than \(bytesMax) bytes")
            }
        }
        let content = Array(buffer.readableBytesView)
        try PrivateFiles.write(content + SHA256.hash(data: content), to: folder + name)
    }

    /// Sessions that are not to come back, out of a file that no server has taken. A running server has none.
    package static func remove(from folder: String, where isMeant: (SavedSession) -> Bool) throws(CommandFailure) {
        guard PrivateFiles.exists(folder + name), let sessions = try take(from: folder) else { return }
        try write(sessions.filter { !isMeant($0) }, to: folder)
    }

    /// - Returns: `nil` for a file that is damaged, or that another version wrote.
    package static func take(from folder: String, bytesMax: Int = bytesMax) throws(CommandFailure) -> [SavedSession]? {
        let path = folder + name
        guard PrivateFiles.exists(path) else { return [] }
        let bytes = try PrivateFiles.read(path, bytesMax: bytesMax)
        try PrivateFiles.remove(path)
        let content = bytes.dropLast(SHA256.byteCount)
        guard Array(SHA256.hash(data: content)) == bytes.suffix(SHA256.byteCount) else { return nil }
        var buffer = ByteBuffer(bytes: content)
        guard let count = buffer.readInteger(as: UInt32.self) else { return nil }
        var sessions: [SavedSession] = []
        for _ in 0..<count {
            guard let session = SavedSession(from: &buffer) else { return nil }
            sessions.append(session)
        }
        return sessions
    }
}

extension ServerCore {
    /// Ends what cannot be resumed, and takes the rest out of the server once everything that it took is on disk.
    func suspendSessions() async -> [SavedSession] {
        await onEachLoop { [router] in router.beginLeaving($0) }
        await withCheckedContinuation { continuation in
            mailbox.run { [router] context in
                router.stopServices(context)
                continuation.resume()
            }
        }
        await onEachLoop { [router] in router.beginStop($0) }
        try? await store.commit([])
        await onEachLoop { $0.flush() }
        return await onEachLoop { [router] in router.saveSessions($0) }.flatMap(\.self)
    }

    /// Has the sessions of the server before, as if their connections had just broken. A few accounts at a time are read.
    func restoreSessions(_ sessions: [SavedSession]) async {
        var rest = sessions[...]
        while !rest.isEmpty {
            await withTaskGroup(of: Void.self) { group in
                for (index, session) in rest.prefix(Self.restoredTogether).enumerated() {
                    let mailbox = pool.loops[index % pool.loops.count].context.mailbox
                    group.addTask { [router] in
                        await withCheckedContinuation { continuation in
                            mailbox.run { router.restore(session, $0) { continuation.resume() } }
                        }
                    }
                }
            }
            rest = rest.dropFirst(Self.restoredTogether)
        }
    }

    private static var restoredTogether: Int { 256 }

    @discardableResult
    func onEachLoop<Value: Sendable>(_ work: @escaping @Sendable (LoopContext) -> Value) async -> [Value] {
        var values: [Value] = []
        for loop in pool.loops {
            values.append(await withCheckedContinuation { continuation in loop.context.mailbox.run { continuation.resume(returning: work($0)) } })
        }
        return values
    }
}

internal import MartletCore
internal import NIOCore

/// Views as they stand in `log.views`; numbers are big-endian.
///
/// Where all that an entry is for is delivery: 16 bytes for each view, owner and name. Otherwise a byte 1 and then 21 bytes for each: owner,
/// name, what it is for, and the hash of the other party's address. Numbers of accounts begin with a byte 0 for as long as anybody lives, those
/// of queues with one above 127.
/// Where the entry says how far a stream has come, the byte is a 2, and 20 bytes come before the views: account, stream, and count.
enum EncodedViews {
    /// Bytes of a view, at most.
    static let viewBytesMax = 21
    private static let plainBytes = 16
    private static let marked: UInt8 = 1
    private static let positioned: UInt8 = 2
    private static let positionBytes = 20

    private struct Purposes: OptionSet {
        let rawValue: UInt8
        static let delivery = Purposes(rawValue: 1)
        static let archive = Purposes(rawValue: 2)
        static let sent = Purposes(rawValue: 4)

        init(rawValue: UInt8) { self.rawValue = rawValue }

        init(_ view: LogEntry.View) {
            self = []
            if view.awaitsDelivery { insert(.delivery) }
            guard let mark = view.archived else { return }
            insert(mark.isSent ? [.archive, .sent] : .archive)
        }
    }

    static func encode(_ views: [LogEntry.View], position: StreamPosition? = nil) -> ByteBuffer {
        var buffer = ByteBuffer()
        encode(views, position: position, to: &buffer)
        return buffer
    }

    /// The same behind what is in `buffer`.
    static func encode(_ views: [LogEntry.View], position: StreamPosition?, to buffer: inout ByteBuffer) {
        let isPlain = position == nil && views.allSatisfy { $0.awaitsDelivery && $0.archived == nil }
        if let position {
            buffer.writeMultipleIntegers(positioned, position.account.raw, position.stream, position.handled)
        } else if !isPlain {
            buffer.writeInteger(marked)
        }
        for view in views {
            buffer.writeInteger(view.owner.raw)
            buffer.writeInteger(view.id)
            if isPlain { continue }
            buffer.writeInteger(Purposes(view).rawValue)
            buffer.writeInteger(view.archived?.peerHash ?? 0)
        }
    }

    /// Nothing for bytes that are no views.
    static func decode(_ bytes: UnsafeRawBufferPointer) -> [LogEntry.View] {
        guard isWellFormed(bytes) else { return [] }
        let isPlain = bytes[0] != marked && bytes[0] != positioned
        let first = isPlain ? 0 : bytes[0] == marked ? 1 : 1 + positionBytes
        return stride(from: first, to: bytes.count, by: isPlain ? plainBytes : viewBytesMax).map { place in
            var view = LogEntry.View(
                owner: AccountID(raw: Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: place, as: Int64.self))),
                id: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: place + 8, as: UInt64.self)))
            if isPlain { return view }
            let purposes = Purposes(rawValue: bytes[place + 16])
            view.awaitsDelivery = purposes.contains(.delivery)
            if purposes.contains(.archive) {
                let hash = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: place + 17, as: UInt32.self))
                view.archived = ArchiveMark(peerHash: hash, isSent: purposes.contains(.sent))
            }
            return view
        }
    }

    /// How far a stream has come with the entry.
    static func position(_ bytes: UnsafeRawBufferPointer) -> StreamPosition? {
        guard isWellFormed(bytes), bytes[0] == positioned else { return nil }
        return StreamPosition(
            account: AccountID(raw: Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: Int64.self))),
            stream: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 9, as: UInt64.self)),
            handled: UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 17, as: UInt32.self)))
    }

    static func isWellFormed(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let first = bytes.first else { return false }
        return switch first {
        case marked: bytes.count > 1 && (bytes.count - 1) % viewBytesMax == 0
        case positioned: bytes.count > 1 + positionBytes && (bytes.count - 1 - positionBytes) % viewBytesMax == 0
        default: bytes.count % plainBytes == 0
        }
    }
}

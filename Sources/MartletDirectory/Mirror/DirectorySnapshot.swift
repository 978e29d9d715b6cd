package import Crypto
package import MartletCore
package import MartletXMPP
internal import NIOCore

/// What is written to disk of a mirror, so that a start without a directory has accounts.
package struct DirectorySnapshot: Sendable {
    /// Tells what was asked of which directory: a cookie means nothing to another question.
    package var asked: [UInt8]
    package var cookie: [UInt8]?
    /// When the directory was last heard of, in milliseconds since 1970.
    package var heard: Int64
    package var attributes: MirroredAttributes
    package var entries: [EntryUUID: MirroredEntry] = [:]
    /// Whose each address is or was last.
    package var owners: [BareJID: EntryUUID] = [:]
    package var credentialMarks: [EntryUUID: CredentialMark] = [:]

    package init(asked: [UInt8], cookie: [UInt8]?, heard: Int64, attributes: MirroredAttributes) {
        self.asked = asked
        self.cookie = cookie
        self.heard = heard
        self.attributes = attributes
    }
}

/// Why a snapshot cannot be used. The server does without: it waits for the directory.
package enum SnapshotError: Error, Hashable, Sendable {
    /// Not of this kind, or of another version.
    case foreign
    /// Cut off, changed, or sealed with another key.
    case damaged
    /// The system refuses; its `errno`.
    case file(Int32)
}

/// The form of a snapshot: the head, then pieces of whole records, the last of which is empty, then the SHA-256 of all records.
///
/// Passwords and keys are in it only if there is a key to seal it with: then each piece is sealed (AES-GCM) with its number, so that none can be left out, moved or
/// taken from another snapshot. Without them the cookie is left out as well, if there are any: a directory that is asked what has changed since would not
/// send them again.
package struct SnapshotForm: Sendable {
    private static let head = Array("martlet-directory".utf8)
    private static let version: UInt8 = 1
    private static let fileNumberBytes = 16
    /// A piece is written when it has become so long. One record more may be in it.
    private static let pieceBytes = 256 * 1024
    private static let pieceBytesMax = pieceBytes + MirrorLimits.entryBytesMax + 64 * 1024

    private let key: SymmetricKey?

    package init(key: SymmetricKey? = nil) { self.key = key }
}

/// What a piece is made of.
private enum Record: UInt8 {
    case asked = 1, attributes, entry, owner, credentialMark, cookie
}

// MARK: Writing

extension SnapshotForm {
    /// Gives `sink` the snapshot in pieces.
    ///
    /// - Parameter fileNumber: 16 random octets, which tell this snapshot from others.
    package func write(_ snapshot: DirectorySnapshot, fileNumber: [UInt8], to sink: ([UInt8]) throws(SnapshotError) -> Void) throws(SnapshotError) {
        precondition(fileNumber.count == Self.fileNumberBytes, "a number of another length would not be read")
        try sink(Self.head + [Self.version, key == nil ? 0 : 1] + fileNumber)
        var pieces = Pieces(key: key, fileNumber: fileNumber)
        let attributes = key == nil ? snapshot.attributes.withoutSecrets : snapshot.attributes
        pieces.append(.asked, Self.integer(snapshot.heard) + snapshot.asked)
        for (name, form) in zip(attributes.names, attributes.forms) { pieces.append(.attributes, [form.rawValue] + name.utf8) }
        var isComplete = true
        for (uuid, entry) in snapshot.entries {
            let written = entry.recoded(from: snapshot.attributes, to: attributes)
            if attributes != snapshot.attributes, isComplete, entry.hasMore(than: written, of: snapshot.attributes) { isComplete = false }
            pieces.append(.entry, uuid.octets + written.bytes)
            try pieces.flush(over: Self.pieceBytes, to: sink)
        }
        if isComplete, let cookie = snapshot.cookie { pieces.append(.cookie, cookie) }
        for (address, uuid) in snapshot.owners {
            pieces.append(.owner, uuid.octets + address.withUTF8 { Array($0) })
            try pieces.flush(over: Self.pieceBytes, to: sink)
        }
        for (uuid, mark) in snapshot.credentialMarks {
            pieces.append(.credentialMark, uuid.octets + mark.octets)
            try pieces.flush(over: Self.pieceBytes, to: sink)
        }
        try pieces.finish(to: sink)
    }

    private static func integer(_ value: Int64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) } }

    private struct Pieces {
        let key: SymmetricKey?
        let fileNumber: [UInt8]
        private var piece = ByteBuffer()
        private var count: UInt64 = 0
        private var hash = SHA256()

        init(key: SymmetricKey?, fileNumber: [UInt8]) {
            self.key = key
            self.fileNumber = fileNumber
        }

        mutating func append(_ record: Record, _ bytes: [UInt8]) {
            piece.writeInteger(record.rawValue)
            piece.writeInteger(UInt32(bytes.count))
            piece.writeBytes(bytes)
        }

        mutating func flush(over bytes: Int, to sink: ([UInt8]) throws(SnapshotError) -> Void) throws(SnapshotError) {
            guard piece.readableBytes > bytes else { return }
            let plain = Array(piece.readableBytesView)
            piece.clear()
            hash.update(data: plain)
            try write(plain, to: sink)
        }

        mutating func finish(to sink: ([UInt8]) throws(SnapshotError) -> Void) throws(SnapshotError) {
            try flush(over: 0, to: sink)
            try write([], to: sink)
            try sink(Array(hash.finalize()))
        }

        private mutating func write(_ plain: [UInt8], to sink: ([UInt8]) throws(SnapshotError) -> Void) throws(SnapshotError) {
            var bytes = plain
            if let key {
                let number = SnapshotForm.associated(fileNumber, count)
                guard let sealed = try? AES.GCM.seal(plain, using: key, authenticating: number).combined else { throw .damaged }
                bytes = Array(sealed)
            }
            count += 1
            try sink((0..<4).map { UInt8(truncatingIfNeeded: bytes.count >> (24 - 8 * $0)) } + bytes)
        }
    }

    fileprivate static func associated(_ fileNumber: [UInt8], _ count: UInt64) -> [UInt8] {
        fileNumber + (0..<8).map { UInt8(truncatingIfNeeded: count >> (56 - 8 * UInt64($0))) }
    }
}

extension MirroredEntry {
    /// Whether secrets were left out of `other`.
    fileprivate func hasMore(than other: MirroredEntry, of attributes: MirroredAttributes) -> Bool { other.bytes.count < bytes.count }
}

// MARK: Reading

extension SnapshotForm {
    /// Reads a snapshot from `source`, which gives so many octets as it is asked for, or fewer at the end.
    package func read(from source: (Int) throws(SnapshotError) -> [UInt8]) throws(SnapshotError) -> DirectorySnapshot {
        let head = try source(Self.head.count + 2 + Self.fileNumberBytes)
        guard head.starts(with: Self.head), head.count == Self.head.count + 2 + Self.fileNumberBytes, head[Self.head.count] == Self.version else { throw .foreign }
        guard head[Self.head.count + 1] == (key == nil ? 0 : 1) else { throw .damaged }
        let fileNumber = Array(head.suffix(Self.fileNumberBytes))
        var (reading, hash, count) = (Reading(), SHA256(), UInt64(0))
        while let piece = try piece(count, fileNumber, source) {
            hash.update(data: piece)
            guard reading.take(piece) else { throw .damaged }
            count += 1
        }
        guard try source(SHA256.byteCount) == Array(hash.finalize()), let snapshot = reading.snapshot else { throw .damaged }
        return snapshot
    }

    /// - Returns: `nil` for the last one.
    private func piece(_ count: UInt64, _ fileNumber: [UInt8], _ source: (Int) throws(SnapshotError) -> [UInt8]) throws(SnapshotError) -> [UInt8]? {
        let length = try source(4)
        let byteCount = length.reduce(0) { $0 << 8 | Int($1) }
        guard length.count == 4, byteCount <= Self.pieceBytesMax else { throw .damaged }
        var bytes = try source(byteCount)
        guard bytes.count == byteCount else { throw .damaged }
        if let key {
            guard let box = try? AES.GCM.SealedBox(combined: bytes),
                let plain = try? AES.GCM.open(box, using: key, authenticating: Self.associated(fileNumber, count))
            else { throw .damaged }
            bytes = Array(plain)
        }
        return bytes.isEmpty ? nil : bytes
    }

    private struct Reading {
        private var result = DirectorySnapshot(asked: [], cookie: nil, heard: 0, attributes: MirroredAttributes([:]))
        private var forms: [String: MirroredAttributes.Form]? = [:]
        private var hasHead = false

        var snapshot: DirectorySnapshot? {
            guard hasHead else { return nil }
            var snapshot = result
            if let forms { snapshot.attributes = MirroredAttributes(forms) }
            return snapshot
        }

        /// - Returns: whether it is made of records.
        mutating func take(_ piece: [UInt8]) -> Bool {
            var buffer = ByteBuffer(bytes: piece)
            while buffer.readableBytes > 0 {
                guard let record = buffer.readInteger(as: UInt8.self).flatMap(Record.init(rawValue:)), let length = buffer.readInteger(as: UInt32.self),
                    let bytes = buffer.readBytes(length: Int(length)), take(record, bytes)
                else { return false }
            }
            return true
        }

        private mutating func take(_ record: Record, _ bytes: [UInt8]) -> Bool {
            switch record {
            case .asked:
                guard bytes.count >= 8 else { return false }
                result.heard = bytes.prefix(8).reduce(0) { $0 << 8 | Int64($1) }
                result.asked = Array(bytes.dropFirst(8))
                hasHead = true
            case .attributes:
                guard let form = bytes.first.flatMap(MirroredAttributes.Form.init(rawValue:)), let name = String(validating: bytes.dropFirst(), as: UTF8.self),
                    forms?.count ?? .max < MirrorLimits.attributesMax
                else { return false }
                forms?[name] = form
            case .entry: return takeEntry(bytes)
            case .cookie: result.cookie = bytes
            case .owner:
                guard let uuid = EntryUUID(Array(bytes.prefix(16))), let text = String(validating: bytes.dropFirst(16), as: UTF8.self),
                    let address = try? BareJID(parsing: text)
                else { return false }
                result.owners[address] = uuid
            case .credentialMark:
                guard let uuid = EntryUUID(Array(bytes.prefix(16))), let mark = CredentialMark(octets: Array(bytes.dropFirst(16))) else { return false }
                result.credentialMarks[uuid] = mark
            }
            return true
        }

        /// All attributes come before the first entry.
        private mutating func takeEntry(_ bytes: [UInt8]) -> Bool {
            if let known = forms {
                result.attributes = MirroredAttributes(known)
                forms = nil
            }
            guard let uuid = EntryUUID(Array(bytes.prefix(16))), let entry = MirroredEntry(stored: Array(bytes.dropFirst(16)), result.attributes) else {
                return false
            }
            result.entries[uuid] = entry
            return true
        }
    }
}

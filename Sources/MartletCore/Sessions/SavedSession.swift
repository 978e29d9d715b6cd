package import MartletXMPP
package import NIOCore

/// A session that can be resumed, from a server that stops to the one that is started after it (XEP-0198 §5, `reliability.md` P4).
package struct SavedSession: Sendable {
    package var address: FullJID
    /// An account that was made anew under the same address inherits nothing.
    package var account: AccountID
    package var resumptionID: String
    /// For how long it can be resumed after its connection was lost.
    package var seconds: Int
    /// When that was, in milliseconds since 1970.
    package var time: Int64
    /// The client's stanzas that are handled, and the server's that the client has acknowledged, modulo 2³².
    package var handled: UInt32
    package var acknowledged: UInt32
    /// What came after those, in order.
    package var unacknowledged: [UnacknowledgedStanzas.Item] = []
    package var presence: EncodedStanza?
    package var priority: Int8 = 0
    package var flags: SessionFlags = []
    package var directed: [JID] = []
    /// On what its client runs, if that is known.
    package var device: DeviceID?
    /// By whose password it has come in, if it is not the account's own.
    package var application: String?
    package var proof = SessionProof()
    /// What groups had put into the roster, as far as the client knew (``Roster/sharingName``).
    package var sharing = ""

    package init(
        address: FullJID, account: AccountID, resumptionID: String, seconds: Int, time: Int64, handled: UInt32, acknowledged: UInt32
    ) {
        self.address = address
        self.account = account
        self.resumptionID = resumptionID
        self.seconds = seconds
        self.time = time
        self.handled = handled
        self.acknowledged = acknowledged
    }
}

extension SavedSession {
    /// For how long it can be resumed, at least a moment.
    func secondsLeft(at milliseconds: Int64) -> Int {
        let (elapsed, overflows) = milliseconds.subtractingReportingOverflow(time)
        guard !overflows, seconds > 0 else { return 1 }
        return max(1, seconds - Int(clamping: max(0, elapsed) / 1_000))
    }
}

// MARK: As bytes

extension SavedSession {
    private static let version: UInt8 = 4
    /// The ones before, which knew neither by what sessions were let in nor of groups, of no passwords for applications, and of no devices.
    private static let versionWithoutProof: UInt8 = 3
    private static let versionWithoutApplication: UInt8 = 2
    private static let versionWithoutDevice: UInt8 = 1

    package func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(Self.version)
        for text in [address.description, resumptionID] { buffer.write(ByteBuffer(string: text)) }
        buffer.writeMultipleIntegers(account.raw, Int64(seconds), time, handled, acknowledged)
        buffer.writeMultipleIntegers(priority, flags.rawValue, UInt8(presence == nil ? 0 : 1))
        if let presence { buffer.write(presence.bytes) }
        buffer.writeInteger(UInt32(clamping: directed.count))
        for address in directed { buffer.write(ByteBuffer(string: address.description)) }
        buffer.writeInteger(UInt32(clamping: unacknowledged.count))
        for item in unacknowledged {
            buffer.writeMultipleIntegers(item.time, item.view, UInt8(item.isStored ? 1 : 0))
            buffer.write(item.stanza.bytes)
        }
        buffer.writeMultipleIntegers(UInt8(device == nil ? 0 : 1), device?.raw ?? 0, UInt8(application == nil ? 0 : 1))
        buffer.write(ByteBuffer(string: application ?? ""))
        buffer.writeMultipleIntegers(UInt8(proof.isCertified ? 1 : 0), UInt8(proof.hasGrant ? 1 : 0), proof.ends ?? .max)
        buffer.write(ByteBuffer(bytes: proof.certificate?.bytes ?? []))
        buffer.write(ByteBuffer(string: sharing))
    }

    /// `nil` for bytes that ``write(to:)`` did not write, or another version of it.
    package init?(from buffer: inout ByteBuffer) {
        guard let version = buffer.readInteger(as: UInt8.self), (Self.versionWithoutDevice...Self.version).contains(version),
            let address = buffer.text().flatMap({ try? FullJID(parsing: $0) }),
            let resumptionID = buffer.text(),
            let (account, seconds, time, handled, acknowledged) = buffer.readMultipleIntegers(
                as: (Int64, Int64, Int64, UInt32, UInt32).self),
            let (priority, flags, hasPresence) = buffer.readMultipleIntegers(as: (Int8, UInt16, UInt8).self)
        else { return nil }
        self.address = address
        self.account = AccountID(raw: account)
        self.resumptionID = resumptionID
        self.seconds = Int(clamping: seconds)
        self.time = time
        self.handled = handled
        self.acknowledged = acknowledged
        self.priority = priority
        self.flags = SessionFlags(rawValue: flags)
        if hasPresence == 1 {
            guard let bytes = buffer.piece() else { return nil }
            presence = EncodedStanza(bytes)
        }
        guard readDirected(&buffer), readUnacknowledged(&buffer) else { return nil }
        guard version > Self.versionWithoutDevice else { return }
        guard let (hasDevice, device) = buffer.readMultipleIntegers(as: (UInt8, Int64).self) else { return nil }
        if hasDevice == 1 { self.device = DeviceID(raw: device) }
        guard version > Self.versionWithoutApplication else { return }
        guard let hasApplication = buffer.readInteger(as: UInt8.self), let application = buffer.text() else { return nil }
        if hasApplication == 1 { self.application = application }
        guard version > Self.versionWithoutProof else { return }
        guard readProof(&buffer), let sharing = buffer.text() else { return nil }
        self.sharing = sharing
    }

    private mutating func readProof(_ buffer: inout ByteBuffer) -> Bool {
        guard let (isCertified, hasGrant, ends) = buffer.readMultipleIntegers(as: (UInt8, UInt8, Int64).self), let bytes = buffer.piece() else { return false }
        proof = SessionProof(CertificateFingerprint(bytes: Array(buffer: bytes)))
        (proof.isCertified, proof.hasGrant, proof.ends) = (isCertified == 1, hasGrant == 1, ends == .max ? nil : ends)
        return true
    }

    private mutating func readDirected(_ buffer: inout ByteBuffer) -> Bool {
        guard let count = buffer.readInteger(as: UInt32.self) else { return false }
        for _ in 0..<count {
            guard let address = buffer.text().flatMap({ try? JID($0) }) else { return false }
            directed.append(address)
        }
        return true
    }

    private mutating func readUnacknowledged(_ buffer: inout ByteBuffer) -> Bool {
        guard let count = buffer.readInteger(as: UInt32.self) else { return false }
        for _ in 0..<count {
            guard let (time, view, isStored) = buffer.readMultipleIntegers(as: (Int64, UInt64, UInt8).self), let bytes = buffer.piece() else {
                return false
            }
            unacknowledged.append(.init(stanza: EncodedStanza(bytes), time: time, view: view, isStored: isStored == 1))
        }
        return true
    }
}

extension ByteBuffer {
    /// Bytes behind their number.
    fileprivate mutating func write(_ piece: ByteBuffer) {
        writeInteger(UInt32(piece.readableBytes))
        writeImmutableBuffer(piece)
    }

    fileprivate mutating func piece() -> ByteBuffer? { readLengthPrefixedSlice(as: UInt32.self) }
    fileprivate mutating func text() -> String? { piece().map { String(buffer: $0) } }
}

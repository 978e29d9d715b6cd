/// The long way from the bytes of one part to its prepared bytes.
enum JIDPartPreparation {
    /// UsernameCaseMapped without eight characters that separate or quote (RFC 7622 §3.3).
    static func localpart(_ bytes: UnsafeRawBufferPointer) throws(JIDError) -> [UInt8] {
        let text = try scalars(bytes, .localpart)
        let prepared = try precis(.localpart) { () throws(PRECISError) in try PRECIS.usernameCaseMapped(scalars: text) }
        for scalar in prepared {
            switch scalar {
            case "\"", "&", "'", "/", ":", "<", ">", "@": throw .disallowed(.localpart, scalar)
            default: continue  // UsernameCaseMapped has seen to the rest
            }
        }
        return try utf8(prepared, .localpart)
    }

    /// A host name or an IP literal (RFC 7622 §3.2).
    static func domainpart(_ bytes: UnsafeRawBufferPointer) throws(JIDError) -> [UInt8] {
        let text = try scalars(bytes, .domainpart)
        if text.first == "[" { return try IPLiteral.prepared(text) }
        return try utf8(DomainName.prepared(text), .domainpart)
    }

    /// OpaqueString (RFC 7622 §3.4) without the characters of RFC 3454 table B.1 that it would refuse.
    static func resourcepart(_ bytes: UnsafeRawBufferPointer) throws(JIDError) -> [UInt8] {
        let text = try scalars(bytes, .resourcepart)
        let prepared = try precis(.resourcepart) { () throws(PRECISError) in try PRECIS.resourcepart(scalars: text) }
        return try utf8(prepared, .resourcepart)
    }

    private static func scalars(_ bytes: UnsafeRawBufferPointer, _ part: JIDPart) throws(JIDError) -> [Unicode.Scalar] {
        guard bytes.count > 0 else { throw .empty(part) }
        guard bytes.count <= JIDPreparation.unpreparedPartBytesMax else { throw .tooLong(part, bytes: bytes.count) }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .notUTF8(part) }
        return Array(text.unicodeScalars)
    }

    private static func utf8(_ text: [Unicode.Scalar], _ part: JIDPart) throws(JIDError) -> [UInt8] {
        let bytes = text.flatMap { UTF8.encode($0) ?? UTF8.encodedReplacementCharacter }
        guard bytes.count <= BareJID.partBytesMax else { throw .tooLong(part, bytes: bytes.count) }
        return bytes
    }

    private static func precis(
        _ part: JIDPart, _ profile: () throws(PRECISError) -> [Unicode.Scalar]
    ) throws(JIDError) -> [Unicode.Scalar] {
        do {
            return try profile()
        } catch {
            throw JIDError(error, in: part)
        }
    }
}

extension JIDError {
    fileprivate init(_ error: PRECISError, in part: JIDPart) {
        switch error {
        case .empty: self = .empty(part)
        case .disallowed(let scalar): self = .disallowed(part, scalar)
        case .outOfContext(let scalar): self = .outOfContext(part, scalar)
        case .bidirectional: self = .bidirectional(part)
        case .unstable: self = .unstable(part)
        }
    }
}

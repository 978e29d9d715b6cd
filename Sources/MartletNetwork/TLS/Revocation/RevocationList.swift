/// A certificate revocation list (CRL, RFC 5280 §5): which of an authority's certificates are not to be believed any more.
///
/// Of each only the serial number is kept. What is not complete in itself is not used: changes to another list (§5.2.4), lists that speak for
/// other authorities or only of some reasons (§5.2.5), and those with critical extensions that are not known here (§5.2, §5.3).
package struct RevocationList: Sendable {
    /// Longest one, in bytes.
    package static let bytesMax = 16 << 20
    /// How far the authority's clock may be before or behind ours, in seconds.
    package static let clockDifferenceMax = 300

    private enum Scope: Sendable {
        case everything, users, authorities
    }

    /// In DER.
    let issuer: [UInt8]
    /// Seconds since 1970.
    package let thisUpdate: Int
    package let nextUpdate: Int
    private let scope: Scope
    /// Where it is published, if it has only the certificates that name that place; a big authority splits its list so.
    private let places: [String]?
    private let serialNumbers: SerialNumbers
    let signed: SignedBytes?

    package var count: Int { serialNumbers.count }
    /// Memory that the numbers take.
    package var numberByteCount: Int { serialNumbers.byteCount }
    /// Memory that it takes, about.
    var byteCount: Int { serialNumbers.byteCount + (signed?.content.count ?? 0) + 1_024 }

    /// Reads a list. Whether its issuer has signed it is another question.
    ///
    /// - Parameter bytes: in DER.
    package init(_ bytes: [UInt8]) throws(RevocationFault) {
        guard bytes.count <= Self.bytesMax else { throw .tooLong(Self.bytesMax) }
        do {
            self = try Self(reading: bytes[...])
        } catch let fault as RevocationFault {
            throw fault
        } catch {
            throw .malformed
        }
    }

    private init(reading bytes: ArraySlice<UInt8>) throws {
        var document = try DERReader(only: DERReader.Tag.sequence, in: bytes)
        let signed = try SignedBytes(&document)
        try document.end()
        self.signed = signed
        var body = try DERReader(only: DERReader.Tag.sequence, in: signed.content)
        let isVersion2 = try Self.isVersion2(&body)
        // What is signed says by which algorithm, too (§5.1.1.2).
        guard try body.content(DERReader.Tag.sequence) == signed.algorithm else { throw RevocationFault.malformed }
        issuer = Array(try body.whole(DERReader.Tag.sequence))
        thisUpdate = try body.time()
        guard [DERReader.Tag.utcTime, DERReader.Tag.generalizedTime].contains(body.nextTag) else {
            throw RevocationFault.unsupported("it does not say until when it is valid")
        }
        nextUpdate = try body.time()
        serialNumbers = try body.optional(DERReader.Tag.sequence).map { try Self.serialNumbers($0, isVersion2) } ?? SerialNumbers()
        let extensions = try body.optional(DERReader.Tag.context(0, isConstructed: true))
        try body.end()
        guard extensions == nil || isVersion2 else { throw RevocationFault.malformed }
        (scope, places) = try extensions.map { try Self.scope($0) } ?? (.everything, nil)
    }

    private init(proved list: RevocationList) {
        (issuer, thisUpdate, nextUpdate, scope) = (list.issuer, list.thisUpdate, list.nextUpdate, list.scope)
        (places, serialNumbers, signed) = (list.places, list.serialNumbers, nil)
    }

    /// Version 1 has no extensions, and says no less for that; OpenSSL writes it unless it is told to do otherwise.
    private static func isVersion2(_ body: inout DERReader) throws -> Bool {
        guard body.nextTag == DERReader.Tag.integer else { return false }
        guard Array(try body.integer()) == [1] else { throw RevocationFault.unsupported("its version is not known here") }
        return true
    }
}

// MARK: Reading

extension RevocationList {
    private enum Identifier {
        static let subjectKey: [UInt8] = [0x55, 0x1D, 0x0E]
        static let issuerAlternativeName: [UInt8] = [0x55, 0x1D, 0x12]
        static let number: [UInt8] = [0x55, 0x1D, 0x14]
        static let reason: [UInt8] = [0x55, 0x1D, 0x15]
        static let invalidityDate: [UInt8] = [0x55, 0x1D, 0x18]
        static let deltaIndicator: [UInt8] = [0x55, 0x1D, 0x1B]
        static let issuingDistributionPoint: [UInt8] = [0x55, 0x1D, 0x1C]
        static let certificateIssuer: [UInt8] = [0x55, 0x1D, 0x1D]
        static let authorityKey: [UInt8] = [0x55, 0x1D, 0x23]
    }

    private static func serialNumbers(_ content: ArraySlice<UInt8>, _ isVersion2: Bool) throws -> SerialNumbers {
        var (entries, numbers) = (DERReader(content), SerialNumbers())
        while !entries.isAtEnd {
            var entry = DERReader(try entries.content(DERReader.Tag.sequence))
            guard numbers.append(try entry.integer()) else { throw RevocationFault.malformed }
            _ = try entry.time()
            if let extensions = try entry.optional(DERReader.Tag.sequence) {
                guard isVersion2 else { throw RevocationFault.malformed }
                try check(entry: extensions)
            }
            try entry.end()
        }
        numbers.sort()
        return numbers
    }

    /// Why and since when is all the same here.
    private static func check(entry extensions: ArraySlice<UInt8>) throws(RevocationFault) {
        try DERReader.extensions(extensions, RevocationFault.malformed) { (identifier, isCritical, _) throws(RevocationFault) in
            let identifier = Array(identifier)
            if identifier == Identifier.certificateIssuer { throw .unsupported("it speaks for other authorities (an indirect list)") }
            if isCritical, ![Identifier.reason, Identifier.invalidityDate].contains(identifier) {
                throw .unsupported("an entry has a critical extension that is not known here")
            }
        }
    }

    private static func scope(_ content: ArraySlice<UInt8>) throws -> (Scope, [String]?) {
        var all = DERReader(content)
        var point: ArraySlice<UInt8>?
        try DERReader.extensions(try all.content(DERReader.Tag.sequence), RevocationFault.malformed) { (identifier, isCritical, value) throws(RevocationFault) in
            switch Array(identifier) {
            case Identifier.deltaIndicator: throw .unsupported("it has only changes to another list")
            case Identifier.issuingDistributionPoint:
                guard point == nil else { throw .malformed }
                point = value
            case Identifier.number, Identifier.authorityKey, Identifier.issuerAlternativeName, Identifier.subjectKey: break
            default: if isCritical { throw .unsupported("it has a critical extension that is not known here") }
            }
        }
        try all.end()
        return try point.map { try scope(issuingDistributionPoint: $0) } ?? (.everything, nil)
    }

    /// §5.2.5.
    private static func scope(issuingDistributionPoint value: ArraySlice<UInt8>) throws -> (Scope, [String]?) {
        var point = try DERReader(only: DERReader.Tag.sequence, in: value)
        let name = try point.optional(DERReader.Tag.context(0, isConstructed: true))
        let users = try flag(1, &point)
        let authorities = try flag(2, &point)
        let someReasons = try point.optional(DERReader.Tag.context(3, isConstructed: false)) != nil
        let isIndirect = try flag(4, &point)
        let attributes = try flag(5, &point)
        try point.end()
        if isIndirect { throw RevocationFault.unsupported("it speaks for other authorities (an indirect list)") }
        if someReasons { throw RevocationFault.unsupported("it has only certificates that were revoked for some reasons") }
        if attributes || users && authorities { throw RevocationFault.otherScope }
        return (users ? .users : authorities ? .authorities : .everything, try name.map(places))
    }

    private static func flag(_ number: UInt8, _ reader: inout DERReader) throws -> Bool {
        try reader.optional(DERReader.Tag.context(number, isConstructed: false)).map { try DERReader.boolean($0) } ?? false
    }

    private static func places(_ name: ArraySlice<UInt8>) throws -> [String] {
        do { return try DistributionPointName.places(name) } catch is DistributionPointName.Relative {
            throw RevocationFault.unsupported("the name of its place is not understood here")
        }
    }
}

// MARK: What it says

extension RevocationList {
    /// Sees that this issuer has made it.
    package func prove(by issuer: RevocationIssuer) throws(RevocationFault) {
        guard self.issuer == issuer.name else { throw .otherIssuer }
        guard issuer.signsLists else { throw .notEntitled }
        guard let signed, try signed.isSigned(by: issuer.key) else { throw .forged }
    }

    /// The same, once it is proved, without the bytes that are needed for that.
    var withoutProof: RevocationList { RevocationList(proved: self) }

    /// Whether a certificate of its issuer's is on it.
    ///
    /// - Parameter now: seconds since 1970.
    /// - Throws: why it says nothing about it.
    package func isRevoked(_ question: RevocationQuestion, now: Int) throws(RevocationFault) -> Bool {
        guard issuer == question.issuerName else { throw .otherIssuer }
        try check(now)
        switch scope {
        case .users: if question.isAuthority { throw .otherScope }
        case .authorities: if !question.isAuthority { throw .otherScope }
        case .everything: break
        }
        // Otherwise another part of the authority's list would pass for the one that has it (§6.3.3 (b) (2) (i)).
        if let places, !places.contains(where: question.listPlaces.contains) { throw .otherScope }
        return serialNumbers.contains(question.serialNumber)
    }

    package func check(_ now: Int) throws(RevocationFault) {
        if thisUpdate > now + Self.clockDifferenceMax { throw .notYetValid(until: thisUpdate) }
        if nextUpdate < now - Self.clockDifferenceMax { throw .outdated(since: nextUpdate) }
    }

    /// Whether a number is on it, as an INTEGER's content.
    package func contains(serialNumber: [UInt8]) -> Bool { serialNumbers.contains(serialNumber) }
}

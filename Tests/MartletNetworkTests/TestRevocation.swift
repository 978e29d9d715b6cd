import Crypto
import Foundation
import SwiftASN1
import Testing
import X509

/// DER as tests write it.
enum TestDER {
    static func element(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        var length: [UInt8] = []
        var rest = content.count
        while rest > 0 {
            length.insert(UInt8(truncatingIfNeeded: rest), at: 0)
            rest >>= 8
        }
        return [tag] + (content.count < 0x80 ? [UInt8(content.count)] : [0x80 | UInt8(length.count)] + length) + content
    }

    static func sequence(_ parts: [UInt8]...) -> [UInt8] { element(0x30, parts.flatMap(\.self)) }
    static func octets(_ content: [UInt8]) -> [UInt8] { element(0x04, content) }
    static func bits(_ content: [UInt8]) -> [UInt8] { element(0x03, [0] + content) }
    static func identifier(_ identifier: ASN1ObjectIdentifier) -> [UInt8] { serialized(identifier) }
    static func uri(_ text: String) -> [UInt8] { element(0x86, Array(text.utf8)) }

    /// A positive one.
    static func integer(_ magnitude: [UInt8]) -> [UInt8] { element(0x02, magnitude[0] < 0x80 ? magnitude : [0] + magnitude) }

    static func time(_ seconds: Int) -> [UInt8] { element(0x18, Array(text(seconds).utf8)) }

    private static func text(_ seconds: Int) -> String {
        var (time, parts) = (time_t(seconds), tm())
        gmtime_r(&time, &parts)
        return String(
            format: "%04d%02d%02d%02d%02d%02dZ", parts.tm_year + 1_900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec)
    }

    static func serialized(_ value: some DERSerializable) -> [UInt8] {
        var serializer = DER.Serializer()
        try? serializer.serialize(value)
        return serializer.serializedBytes
    }

    static func extensions(_ extensions: (ASN1ObjectIdentifier, Bool, [UInt8])...) -> [UInt8] {
        element(0x30, extensions.flatMap { sequence(identifier($0.0), $0.1 ? [0x01, 0x01, 0xFF] : [], octets($0.2)) })
    }

    /// CRLDistributionPoints, or an IssuingDistributionPoint's name.
    static func pointName(_ uris: [String]) -> [UInt8] { element(0xA0, element(0xA0, uris.flatMap(uri))) }
}

/// A list of revoked certificates, as an authority writes it.
struct TestRevocationList {
    static let ecdsaWithSHA256 = TestDER.sequence(TestDER.identifier([1, 2, 840, 10045, 4, 3, 2]))

    var version: [UInt8]? = [1]
    var serialNumbers: [[UInt8]] = []
    /// Seconds around ``Fixtures/now``.
    var validity = -86_400...86_400
    var entryExtensions: [UInt8] = []
    /// `Extensions`.
    var extensions: [UInt8] = []
    var hasEnd = true
    var algorithm = ecdsaWithSHA256
    /// In what is signed; otherwise the same.
    var innerAlgorithm: [UInt8]?
    var isForged = false

    func bytes(by authority: TestAuthority) throws -> [UInt8] {
        try bytes(as: authority.name) { Array(try authority.key.signature(for: $0).derRepresentation) }
    }

    func bytes(as name: DistinguishedName, _ sign: ([UInt8]) throws -> [UInt8]) throws -> [UInt8] {
        let entries = serialNumbers.flatMap { TestDER.sequence(TestDER.integer($0), TestDER.time(Fixtures.now - 3_600), entryExtensions) }
        let body = TestDER.sequence(
            version.map(TestDER.integer) ?? [], innerAlgorithm ?? algorithm, TestDER.serialized(name), TestDER.time(Fixtures.now + validity.lowerBound),
            hasEnd ? TestDER.time(Fixtures.now + validity.upperBound) : [], entries.isEmpty ? [] : TestDER.element(0x30, entries),
            extensions.isEmpty ? [] : TestDER.element(0xA0, extensions))
        return TestDER.sequence(body, algorithm, TestDER.bits(try sign(isForged ? body + [0] : body)))
    }
}

/// An answer of an OCSP responder.
struct TestResponderAnswer {
    /// CertStatus.
    enum Status {
        case good, revoked, unknown

        var bytes: [UInt8] {
            switch self {
            case .good: [0x80, 0]
            case .revoked: TestDER.element(0xA1, TestDER.time(Fixtures.now - 3_600))
            case .unknown: [0x82, 0]
            }
        }
    }

    var status = Status.good
    var validity = -86_400...86_400
    var hasEnd = true
    var singleExtensions: [UInt8] = []
    var certificates: [Certificate] = []
    var isForged = false

    /// - Parameter request: to which it answers; what is asked about in it.
    func bytes(to request: [UInt8], signedBy key: P256.Signing.PrivateKey) throws -> [UInt8] {
        let single = TestDER.sequence(
            try Self.identifier(in: request), status.bytes, TestDER.time(Fixtures.now + validity.lowerBound),
            hasEnd ? TestDER.element(0xA0, TestDER.time(Fixtures.now + validity.upperBound)) : [],
            singleExtensions.isEmpty ? [] : TestDER.element(0xA1, singleExtensions))
        let responder = TestDER.element(0xA2, TestDER.octets(Array(repeating: 0, count: 20)))
        let data = TestDER.sequence(responder, TestDER.time(Fixtures.now), TestDER.sequence(single))
        let signature = Array(try key.signature(for: isForged ? data + [0] : data).derRepresentation)
        let chain = certificates.isEmpty ? [] : TestDER.element(0xA0, TestDER.element(0x30, certificates.flatMap { TestDER.serialized($0) }))
        let basic = TestDER.sequence(data, TestRevocationList.ecdsaWithSHA256, TestDER.bits(signature), chain)
        let holder = TestDER.sequence(TestDER.identifier([1, 3, 6, 1, 5, 5, 7, 48, 1, 1]), TestDER.octets(basic))
        return TestDER.sequence([0x0A, 0x01, 0x00], TestDER.element(0xA0, holder))
    }

    /// OCSPRequest, TBSRequest, requestList, Request, CertID.
    private static func identifier(in request: [UInt8]) throws -> [UInt8] {
        var node = try DER.parse(request)
        for _ in 0..<4 {
            guard case .constructed(let nodes) = node.content, let first = Array(nodes).first else { throw CocoaError(.coderReadCorrupt) }
            node = first
        }
        return Array(node.encodedBytes)
    }
}

extension TestAuthority {
    /// Where its certificates say that a list is, and whom to ask.
    static func places(lists: [String] = [], responders: [String] = []) -> [Certificate.Extension] {
        var extensions: [Certificate.Extension] = []
        if !lists.isEmpty {
            let points = lists.map { TestDER.sequence(TestDER.pointName([$0])) }
            extensions.append(.init(oid: [2, 5, 29, 31], critical: false, value: TestDER.element(0x30, points.flatMap(\.self))[...]))
        }
        if !responders.isEmpty {
            let accesses = responders.map { TestDER.sequence(TestDER.identifier([1, 3, 6, 1, 5, 5, 7, 48, 1]), TestDER.uri($0)) }
            extensions.append(.init(oid: [1, 3, 6, 1, 5, 5, 7, 1, 1], critical: false, value: TestDER.element(0x30, accesses.flatMap(\.self))[...]))
        }
        return extensions
    }

    func certificate(lists: [String] = [], responders: [String] = []) throws -> Certificate {
        try issue(to: P256.Signing.PrivateKey().publicKey) { options in
            options.names = [.dnsName("verona.example")]
            options.more = Self.places(lists: lists, responders: responders)
        }
    }
}

extension Certificate {
    /// The INTEGER's content.
    var serialContent: [UInt8] { Array(TestDER.integer(Array(serialNumber.bytes)).dropFirst(2)) }
}

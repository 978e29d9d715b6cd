import SwiftASN1
import X509

/// What a certificate says about policies (RFC 5280 §4.2.1.4, §4.2.1.5, §4.2.1.11, §4.2.1.14).
struct CertificatePolicies {
    struct Mapping {
        let issuerDomain: ASN1ObjectIdentifier
        let subjectDomain: ASN1ObjectIdentifier
    }

    static let anyPolicy: ASN1ObjectIdentifier = [2, 5, 29, 32, 0]

    enum Identifier {
        static let policies: ASN1ObjectIdentifier = [2, 5, 29, 32]
        static let mappings: ASN1ObjectIdentifier = [2, 5, 29, 33]
        static let constraints: ASN1ObjectIdentifier = [2, 5, 29, 36]
        static let inhibitAny: ASN1ObjectIdentifier = [2, 5, 29, 54]

        static let all = [policies, mappings, constraints, inhibitAny]
    }

    /// `nil`: it says nothing, so that no policy is left below it.
    let policies: Set<ASN1ObjectIdentifier>?
    let mappings: [Mapping]
    /// After how many certificates more a policy has to be there, mappings and `anyPolicy` count for nothing.
    let requireExplicit: Int?
    let inhibitMapping: Int?
    let inhibitAny: Int?

    init(_ certificate: Certificate) throws {
        let extensions = certificate.extensions
        policies = try extensions[oid: Identifier.policies].map { try Self.policies($0.value) }
        mappings = try extensions[oid: Identifier.mappings].map { try Self.mappings($0.value) } ?? []
        (requireExplicit, inhibitMapping) = try extensions[oid: Identifier.constraints].map { try Self.constraints($0.value) } ?? (nil, nil)
        inhibitAny = try extensions[oid: Identifier.inhibitAny].map { one in
            var reader = DERReader(one.value)
            let count = try Self.count(try reader.content(DERReader.Tag.integer))
            try reader.end()
            return count
        }
    }

    /// Qualifiers are for people.
    private static func policies(_ value: ArraySlice<UInt8>) throws -> Set<ASN1ObjectIdentifier> {
        var (all, policies) = (try DERReader(only: DERReader.Tag.sequence, in: value), Set<ASN1ObjectIdentifier>())
        while !all.isAtEnd {
            var one = DERReader(try all.content(DERReader.Tag.sequence))
            guard policies.insert(try identifier(&one)).inserted else { throw DERReader.Malformed() }
        }
        guard !policies.isEmpty else { throw DERReader.Malformed() }
        return policies
    }

    private static func mappings(_ value: ArraySlice<UInt8>) throws -> [Mapping] {
        var (all, mappings) = (try DERReader(only: DERReader.Tag.sequence, in: value), [Mapping]())
        while !all.isAtEnd {
            var one = DERReader(try all.content(DERReader.Tag.sequence))
            let mapping = Mapping(issuerDomain: try identifier(&one), subjectDomain: try identifier(&one))
            try one.end()
            guard mapping.issuerDomain != anyPolicy, mapping.subjectDomain != anyPolicy else { throw DERReader.Malformed() }
            mappings.append(mapping)
        }
        return mappings
    }

    private static func constraints(_ value: ArraySlice<UInt8>) throws -> (requireExplicit: Int?, inhibitMapping: Int?) {
        var reader = try DERReader(only: DERReader.Tag.sequence, in: value)
        let requireExplicit = try reader.optional(DERReader.Tag.context(0, isConstructed: false)).map { try count($0) }
        let inhibitMapping = try reader.optional(DERReader.Tag.context(1, isConstructed: false)).map { try count($0) }
        try reader.end()
        guard requireExplicit != nil || inhibitMapping != nil else { throw DERReader.Malformed() }
        return (requireExplicit, inhibitMapping)
    }

    private static func identifier(_ reader: inout DERReader) throws -> ASN1ObjectIdentifier {
        try ASN1ObjectIdentifier(derEncoded: Array(try reader.whole(DERReader.Tag.objectIdentifier)))
    }

    /// A number of certificates. No path has so many as do not fit into one octet.
    private static func count(_ content: ArraySlice<UInt8>) throws -> Int {
        guard let first = content.first, first < 0x80 else { throw DERReader.Malformed() }
        return content.count == 1 ? Int(first) : Int(UInt8.max)
    }
}

/// The policies that are left at each certificate of a path, from the anchor down: the `valid_policy_tree` of RFC 5280 §6.1.2 (a).
///
/// A tree would have a node for each way to come to a policy, and whoever writes certificates could make it grow without end. Here each policy is
/// there once in a level, with those of the level above from which it came; so a level is never larger than what the certificates say.
struct PolicyLevels {
    private struct Level {
        /// Each policy with its parents; none: `anyPolicy` has it.
        var nodes: [ASN1ObjectIdentifier: Set<ASN1ObjectIdentifier>] = [:]
        var hasAny: Bool
    }

    private var levels: [Level] = []
    private var next = Level(hasAny: true)
    private let acceptable: Set<ASN1ObjectIdentifier>
    /// Certificates until then (RFC 5280 §6.1.2 (d), (e), (f)).
    private var explicit: Int
    private var anyLeft: Int
    private var mappingLeft: Int

    /// - Parameter count: certificates of the path, the anchor excepted.
    init(_ demand: PolicyDemand, count: Int) {
        acceptable = demand.acceptable
        explicit = demand.isExplicit ? 0 : count + 1
        anyLeft = demand.inhibitsAny ? 0 : count + 1
        mappingLeft = demand.inhibitsMapping ? 0 : count + 1
    }

    /// The next certificate, from the anchor down.
    ///
    /// - Parameters:
    ///   - isSelfIssued: whether its issuer's name is its subject's.
    ///   - isLast: whether it is the one that is validated.
    mutating func take(_ said: CertificatePolicies, isSelfIssued: Bool, isLast: Bool) {
        let countsAny = anyLeft > 0 || !isLast && isSelfIssued
        var level = Self.level(next, said, countsAny)
        if !isLast { next = prepared(&level, said.mappings) }
        levels.append(level)
        if isLast || !isSelfIssued { explicit = max(explicit - 1, 0) }
        if isLast {
            // §6.1.5 (b).
            if said.requireExplicit == 0 { explicit = 0 }
            return
        }
        // §6.1.4 (h), (i), (j).
        if !isSelfIssued { (anyLeft, mappingLeft) = (max(anyLeft - 1, 0), max(mappingLeft - 1, 0)) }
        explicit = min(explicit, said.requireExplicit ?? explicit)
        mappingLeft = min(mappingLeft, said.inhibitMapping ?? mappingLeft)
        anyLeft = min(anyLeft, said.inhibitAny ?? anyLeft)
    }

    /// §6.1.3 (d), (e).
    private static func level(_ expected: Level, _ said: CertificatePolicies, _ countsAny: Bool) -> Level {
        guard let policies = said.policies else { return Level(hasAny: false) }
        let saysAny = countsAny && policies.contains(CertificatePolicies.anyPolicy)
        var level = Level(nodes: saysAny ? expected.nodes : expected.nodes.filter { policies.contains($0.key) }, hasAny: expected.hasAny && saysAny)
        guard expected.hasAny else { return level }
        for policy in policies where policy != CertificatePolicies.anyPolicy && level.nodes[policy] == nil { level.nodes[policy] = [] }
        return level
    }

    /// What is expected of the next one (§6.1.4 (b)).
    private func prepared(_ level: inout Level, _ mappings: [CertificatePolicies.Mapping]) -> Level {
        var next = Level(hasAny: level.hasAny)
        let mapped = Set(mappings.map(\.issuerDomain))
        if mappingLeft == 0 {
            level.nodes = level.nodes.filter { !mapped.contains($0.key) }
        } else {
            if level.hasAny { for policy in mapped where level.nodes[policy] == nil { level.nodes[policy] = [] } }
            for mapping in mappings where level.nodes[mapping.issuerDomain] != nil { next.nodes[mapping.subjectDomain, default: []].insert(mapping.issuerDomain) }
        }
        for policy in level.nodes.keys where !mapped.contains(policy) { next.nodes[policy, default: []].insert(policy) }
        return next
    }

    /// Whether the path is good for what is asked (§6.1.5 (g)).
    var isSatisfied: Bool { explicit > 0 || hasAcceptable }

    private var hasAcceptable: Bool {
        guard let last = levels.last else { return acceptable.isEmpty }
        if acceptable.isEmpty || last.hasAny { return last.hasAny || !last.nodes.isEmpty }
        var reached = Set(last.nodes.keys)
        for level in levels.reversed() {
            var parents: Set<ASN1ObjectIdentifier> = []
            for policy in reached {
                guard let above = level.nodes[policy] else { continue }
                // It was the first authority's own word for it that counts, before others have called it something else.
                if above.isEmpty, acceptable.contains(policy) { return true }
                parents.formUnion(above)
            }
            reached = parents
        }
        return false
    }
}

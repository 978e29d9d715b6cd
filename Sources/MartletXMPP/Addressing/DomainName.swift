/// Internationalised host names (IDNA2008: RFC 5890 to 5893, with the mappings of RFC 5895).
///
/// The prepared form has U-labels: RFC 7622 §3.2.1 turns A-labels into them, whatever the peer wrote.
enum DomainName {
    static func prepared(_ text: [Unicode.Scalar]) throws(JIDError) -> [Unicode.Scalar] {
        var mapped = mapped(text)
        if mapped.last == "." { mapped.removeLast() }
        guard !mapped.isEmpty else { throw .empty(.domainpart) }
        var labels: [[Unicode.Scalar]] = []
        for label in mapped.split(separator: ".", omittingEmptySubsequences: false) {
            labels.append(try DomainLabel.prepared(Array(label)))
        }
        // RFC 5893 §2: one right-to-left label puts the rule on all labels.
        if labels.contains(where: BidiRule.applies(to:)) {
            guard labels.allSatisfy(BidiRule.isSatisfied(by:)) else { throw .bidirectional(.domainpart) }
        }
        return Array(labels.joined(separator: ["."]))
    }

    /// RFC 5895 §2: lower case, width, Normalisation Form C, and the ideographic full stop is a full stop.
    ///
    /// What IDNA allows as it is keeps its case: Cherokee got lower case letters late, so that its capitals are the ones
    /// in labels, and their lower case is not.
    private static func mapped(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        let lowercased = text.flatMap { UnicodeProperties($0).idna == .valid ? [$0] : PRECIS.lowercased([$0]) }
        return UnicodeNormalization.canonical(PRECIS.widthMapped(lowercased)).map { $0 == "\u{3002}" ? "." : $0 }
    }
}

/// One label of a host name.
enum DomainLabel {
    /// Most octets in a label (RFC 1035 §2.3.4), counted as an A-label.
    static let bytesMax = 63

    private static let aLabelPrefix: [Unicode.Scalar] = ["x", "n", "-", "-"]

    /// The label as an NR-LDH label or U-label; `label` is mapped already.
    static func prepared(_ label: [Unicode.Scalar]) throws(JIDError) -> [Unicode.Scalar] {
        guard !label.isEmpty else { throw .label(.empty) }
        guard label.count <= bytesMax else { throw .label(.tooLong) }
        if label.starts(with: aLabelPrefix), label.allSatisfy(\.isASCII) { return try decoded(label) }
        try check(label)
        return label
    }

    /// The U-label of an A-label, which has to be the A-label of that U-label (RFC 5891 §4.2, §5.4).
    private static func decoded(_ aLabel: [Unicode.Scalar]) throws(JIDError) -> [Unicode.Scalar] {
        let code = aLabel.dropFirst(aLabelPrefix.count).map { UInt8(truncatingIfNeeded: $0.value) }
        guard let label = Punycode.decode(code), !label.allSatisfy(\.isASCII), Punycode.encode(label) == code,
            UnicodeNormalization.canonical(label) == label
        else { throw .label(.invalidALabel) }
        try check(label)
        return label
    }

    /// RFC 5891 §4.2.3 and the length; the Bidi Rule concerns all labels together.
    private static func check(_ label: [Unicode.Scalar]) throws(JIDError) {
        try checkHyphens(label)
        if let first = label.first, UnicodeProperties(first).isMark { throw .label(.startsWithMark) }
        var rules: ContextRules?
        for (index, scalar) in label.enumerated() {
            switch UnicodeProperties(scalar).idna {
            case .valid:
                continue
            case .contextJoin, .contextOther:
                let known = rules ?? ContextRules(label)
                rules = known
                guard known.hold(at: index) else { throw .outOfContext(.domainpart, scalar) }
            case .freeformValid, .disallowed:
                throw .disallowed(.domainpart, scalar)
            }
        }
        let octets = label.allSatisfy(\.isASCII) ? label.count : aLabelPrefix.count + Punycode.encode(label).count
        guard octets <= bytesMax else { throw .label(.tooLong) }
    }

    private static func checkHyphens(_ label: [Unicode.Scalar]) throws(JIDError) {
        let inThirdAndFourth = label.count >= 4 && label[2] == "-" && label[3] == "-"
        guard label.first != "-", label.last != "-", !inThirdAndFourth else { throw .label(.hyphens) }
    }
}

import MartletLDAP

/// Texts of a directory mean something or nothing; what they mean can be written, and means the same again. The first byte says which they are.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzLDAPText(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    guard let kind = bytes.first else { return 0 }
    let rest = Array(bytes.dropFirst())
    let text = String(decoding: rest, as: UTF8.self)
    switch kind % 6 {
    case 0: filter(text)
    case 1: template(text)
    case 2: name(rest)
    case 3: url(text)
    case 4: ldif(rest)
    default: values(rest, text)
    }
    return 0
}

private func filter(_ text: String) {
    guard let filter = try? LDAPFilter(text) else { return }
    let written = filter.description
    precondition(written.utf8.allSatisfy { 0x20..<0x7F ~= $0 }, "a line breaks in the log")
    if written.utf8.count <= LDAPFilter.octetsMax { precondition((try? LDAPFilter(written)) == filter, "another filter") }
}

/// A value that would mean something in a text, which must not change what is asked.
private func template(_ text: String) {
    guard let template = try? LDAPFilterTemplate(text) else { return }
    let plain = try? template.filter(Substitutes(localpart: "a", domainpart: "b", resourcepart: "c"))
    let hostile = try? template.filter(Substitutes(localpart: "*)(&", domainpart: "\\2a\0", resourcepart: ")(uid=*"))
    guard let plain, let hostile else { preconditionFailure("a template makes no filter") }
    precondition(shape(plain) == shape(hostile), "a value changes what is asked")
    let written = hostile.description
    if written.utf8.count <= LDAPFilter.octetsMax { precondition((try? LDAPFilter(written)) == hostile, "another filter") }
}

/// The kinds of filters in their order, and whom they ask about.
private func shape(_ filter: LDAPFilter) -> String {
    switch filter {
    case .and(let filters): "(&\(filters.map(shape).joined()))"
    case .or(let filters): "(|\(filters.map(shape).joined()))"
    case .not(let filter): "(!\(shape(filter)))"
    case .equality(let attribute, _): "(\(attribute)=)"
    case .substrings(let attribute, let parts): "(\(attribute)=\(parts.initial != nil)\(parts.any.count)\(parts.final != nil))"
    case .greaterOrEqual(let attribute, _): "(\(attribute)>=)"
    case .lessOrEqual(let attribute, _): "(\(attribute)<=)"
    case .approximate(let attribute, _): "(\(attribute)~=)"
    case .present(let attribute): "(\(attribute)=*)"
    case .extensible(let part): "(\(part.attribute ?? ""):\(part.hasDNAttributes):\(part.matchingRule ?? ""):=)"
    }
}

private func name(_ bytes: [UInt8]) {
    guard let name = try? DistinguishedName(octets: bytes) else { return }
    let (written, normalized) = (name.description, name.normalized)
    if written.utf8.count <= DistinguishedName.octetsMax { precondition((try? DistinguishedName(written)) == name, "another name") }
    guard normalized.utf8.count <= DistinguishedName.octetsMax else { return }
    let again = try? DistinguishedName(normalized)
    precondition(again == name && again?.hashValue == name.hashValue, "another name")
    precondition(again?.normalized == normalized, "a name is written in two ways")
    precondition(name.parent.map(name.isDescendant(of:)) ?? true, "it does not lie below what it lies below")
}

private func url(_ text: String) {
    guard let url = try? LDAPURL(text) else { return }
    let written = url.description
    if written.utf8.count <= LDAPURL.octetsMax { precondition((try? LDAPURL(written)) == url, "another address") }
}

private func ldif(_ bytes: [UInt8]) {
    guard var reader = try? LDIFReader(bytes) else { return }
    var records: [LDIFRecord] = []
    while let record = try? reader.next() { records.append(record) }
    precondition((try? LDIFReader.records(LDIFWriter.text(records))) == records, "other records")
    let entries = records.compactMap { record in if case .entry(let entry) = record.content { entry } else { nil } }
    let sorted = LDIFWriter.sorted(entries)
    precondition(LDIFWriter.text(sorted) == LDIFWriter.text(entries), "the order depends on the order")
    precondition((try? LDIFDifference.changes(from: entries, to: entries))?.isEmpty ?? false, "an entry differs from itself")
}

/// A filter up to a line feed, and behind it an entry.
private func values(_ bytes: [UInt8], _ text: String) {
    if let moment = GeneralizedTime.milliseconds(of: bytes) {
        let again = GeneralizedTime.milliseconds(of: GeneralizedTime.text(milliseconds: moment))
        // An offset may lead out of the years that can be written.
        precondition(again == moment || !(-62_167_219_200_000...253_402_300_799_999).contains(moment), "another moment")
    }
    if let assertion = CertificateExactAssertion(certificate: bytes) ?? CertificateExactAssertion(text) {
        let written = assertion.description
        // The name of an issuer may be longer than one that is read.
        if written.utf8.count <= DistinguishedName.octetsMax { precondition(CertificateExactAssertion(written) == assertion, "another certificate") }
    }
    guard let end = bytes.firstIndex(of: UInt8(ascii: "\n")), let filter = try? LDAPFilter(String(decoding: bytes[..<end], as: UTF8.self)),
        var reader = try? LDIFReader(Array(bytes[(end + 1)...])), let record = try? reader.next(), case .entry(let entry) = record.content
    else { return }
    let (truth, opposite) = (filter.truth(of: entry), LDAPFilter.not(filter).truth(of: entry))
    let isOpposite: Bool =
        switch (truth, opposite) {
        case (.holds, .fails), (.fails, .holds), (.undefined, .undefined), (_, .undefined): true
        default: false
        }
    precondition(isOpposite, "both hold")
}

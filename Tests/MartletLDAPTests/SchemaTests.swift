import MartletLDAP
import Testing

@Suite("What is known of attributes (RFC 4512, 4517, 4519)")
struct SchemaTests {
    @Test("An attribute has one name, however it is called", arguments: [
        ("cn", "cn"), ("CommonName", "cn"), ("2.5.4.3", "cn"), ("OID.2.5.4.3", "cn"), ("surname", "sn"), ("userid", "uid"), ("rfc822Mailbox", "mail"), ("countryName", "c"),
        ("localityName", "l"), ("stateOrProvinceName", "st"), ("organizationName", "o"), ("organizationalUnitName", "ou"), ("domainComponent", "dc"),
        ("streetAddress", "street"), ("XMPPAddress", "xmppaddress"), ("x-Unknown", "x-unknown"), ("1.2.3.4", "1.2.3.4"), ("oid.1.2.3.4", "1.2.3.4"),
    ])
    func names(name: String, canonical: String) { #expect(Schema.standard.canonicalType(name) == canonical) }

    @Test("Names and OIDs of the schema are each for one attribute")
    func unique() {
        let types = MartletSchema.attributeTypes
        #expect(Set(types.map(\.oid)).count == types.count && Set(types.map(\.canonicalName)).count == types.count)
        for type in types { #expect(Schema.standard.attributeType(type.name)?.oid == type.oid) }
        #expect(Set(MartletSchema.objectClasses.map(\.oid)).count == MartletSchema.objectClasses.count)
    }

    @Test("A description has options, and a range where values come in pieces")
    func descriptions() {
        let german = AttributeDescription("commonName;LANG-de;x-a")
        #expect(german?.type == "cn" && german?.options == ["lang-de", "x-a"] && german?.range == nil)
        let piece = AttributeDescription("member;range=0-1499")
        #expect(piece?.type == "member" && piece?.options == [] && piece?.range?.first == 0 && piece?.range?.last == 1_499)
        let last = AttributeDescription("member;Range=1500-*")
        #expect(last?.range?.first == 1_500 && last?.range?.last == nil && last?.range?.description == "1500-*")
    }

    @Test("What is none is none", arguments: [
        "", ";", "cn;", ";x", "c n", "1.", ".1", "1..2", "-a", "cn;a=b", "member;range=", "member;range=5", "member;range=5-4", "member;range=0-1;range=2-3", "member;range=-1-2", "cn;ä",
    ])
    func refused(text: String) { #expect(AttributeDescription(text) == nil) }

    @Test("A description has 512 octets, and 16 options, and no more")
    func limits() {
        #expect(AttributeDescription(String(repeating: "a", count: AttributeDescription.octetsMax)) != nil)
        #expect(AttributeDescription(String(repeating: "a", count: AttributeDescription.octetsMax + 1)) == nil)
        func options(_ count: Int) -> String { "cn" + (0..<count).map { ";x\($0)" }.joined() }
        #expect(AttributeDescription(options(AttributeDescription.optionsMax)) != nil)
        #expect(AttributeDescription(options(AttributeDescription.optionsMax + 1)) == nil)
    }

    @Test("More options, and kinds of a type, belong to what has fewer and is more general (RFC 4512 §2.5.2)", arguments: [
        ("cn;lang-de", "cn", true), ("cn", "cn;lang-de", false), ("cn;lang-de;x-a", "cn;x-a", true), ("cn", "name", true), ("name", "cn", false), ("sn;lang-de", "name;lang-de", true),
        ("member;range=0-1", "member", true), ("xmppGroupVisibleTo", "distinguishedName", true), ("mail", "name", false), ("userCertificate;binary", "userCertificate", true),
    ])
    func subtypes(text: String, other: String, isSubtype: Bool) throws {
        #expect(try #require(AttributeDescription(text)).isSubtype(of: #require(AttributeDescription(other))) == isSubtype)
    }

    @Test("Rules are found by name and OID", arguments: [
        ("caseIgnoreMatch", MatchingRule.caseIgnore), ("CASEEXACTMATCH", .caseExact), ("2.5.13.14", .integer), ("1.2.840.113556.1.4.803", .bitAnd),
        ("1.2.840.113556.1.4.804", .bitOr), ("distinguishedNameMatch", .distinguishedName),
    ])
    func rules(text: String, rule: MatchingRule) { #expect(MatchingRule.named(text) == rule) }

    @Test("No two rules have a name or an OID in common")
    func uniqueRules() {
        #expect(Set(MatchingRule.all.map(\.name)).count == MatchingRule.all.count && Set(MatchingRule.all.map(\.oid)).count == MatchingRule.all.count)
    }
}

@Suite("Values that are compared (RFC 4517)")
struct ValuePreparationTests {
    @Test("Equal values are prepared alike", arguments: [
        (ValuePreparation.caseIgnore, " A  b ", "a b"), (.caseExact, " A  b ", "A b"), (.telephoneNumber, "+1 408-555 1212", "+14085551212"), (.numericString, "12 34", "1234"),
        (.boolean, "TRUE", "TRUE"), (.integer, "-12", "-12"), (.integer, "0", "0"), (.generalizedTime, "197001010000Z", "0"), (.objectIdentifier, "Person", "person"),
        (.objectIdentifier, "2.5.6.6", "person"), (.distinguishedName, "CN = A , DC=b", "cn=a,dc=b"), (.nameAndOptionalUID, "CN=A#'01'B", "cn=a"), (.octetString, " A ", " A "),
        (.caseIgnore, "Ä\u{A0}\u{2003}ß", "ä ß"), (.caseExact, "Ä\u{A0}\u{2003}ß", "Ä ß"), (.caseIgnore, "", ""),
    ])
    func prepared(preparation: ValuePreparation, value: String, prepared: String) {
        #expect(preparation.prepared(Array(value.utf8)).map { String(decoding: $0, as: UTF8.self) } == prepared)
    }

    @Test("What is not of the syntax is not prepared", arguments: [
        (ValuePreparation.boolean, "true"), (.integer, ""), (.integer, "-"), (.integer, "01"), (.integer, "-0"), (.integer, "1a"), (.generalizedTime, "now"), (.distinguishedName, "x"),
        (.uuid, "584c0000ab0040008000000000000001"), (.uuid, "584c0000-ab00-4000-8000-00000000000g"),
    ])
    func refused(preparation: ValuePreparation, value: String) { #expect(preparation.prepared(Array(value.utf8)) == nil) }

    @Test("A number that is compared has 64 digits and no more")
    func digits() {
        #expect(ValuePreparation.integer.prepared([UInt8](repeating: 0x31, count: 64)) != nil)
        #expect(ValuePreparation.integer.prepared([UInt8](repeating: 0x31, count: 65)) == nil)
    }

    @Test("A text that is compared has a MiB and no more")
    func length() {
        #expect(ValuePreparation.caseIgnore.prepared([UInt8](repeating: 0x61, count: 1 << 20)) != nil)
        #expect(ValuePreparation.caseIgnore.prepared([UInt8](repeating: 0x61, count: 1 << 20 + 1)) == nil)
    }
}

@Suite("Moments (RFC 4517 §3.3.13)")
struct GeneralizedTimeTests {
    @Test("All forms are read", arguments: [
        ("199412161032Z", Int64(787_573_920_000)), ("199412160532-0500", 787_573_920_000), ("19700101000000Z", 0), ("1970010100Z", 0), ("197001010130Z", 5_400_000),
        ("19700101000000.5Z", 500), ("19700101000000,25Z", 250), ("1970010100.5Z", 1_800_000), ("197001010000.5Z", 30_000), ("19700101000000.1239Z", 123),
        ("19700101010000+01", 0), ("19691231190000-0500", 0), ("20001231235960Z", 978_307_200_000), ("00000101000000Z", -62_167_219_200_000), ("20240229000000Z", 1_709_164_800_000),
        ("19700101000000.12345678901234567890Z", 123), ("99991231235959.999Z", 253_402_300_799_999),
    ])
    func read(text: String, milliseconds: Int64) { #expect(GeneralizedTime.milliseconds(of: text) == milliseconds) }

    @Test("What is none is none", arguments: [
        "", "Z", "1970010100", "19700101Z", "19701301000000Z", "19700132000000Z", "20230229000000Z", "1970010124Z", "19700101006000Z", "19700101000061Z", "19700101000000.Z", "19700101000000",
        "19700101000000z", "19700101000000+", "19700101000000+2400", "19700101000000+0160", "197001010Z", "19700101000000ZZ", "-9700101000000Z", "1970010100000Z",
    ])
    func refused(text: String) { #expect(GeneralizedTime.milliseconds(of: text) == nil) }

    @Test("They are written to the millisecond", arguments: [
        (Int64(0), "19700101000000Z"), (1, "19700101000000.001Z"), (-1, "19691231235959.999Z"), (1_709_164_800_120, "20240229000000.120Z"), (Int64.max, "99991231235959.999Z"),
        (Int64.min, "00000101000000Z"),
    ])
    func written(milliseconds: Int64, text: String) { #expect(GeneralizedTime.text(milliseconds: milliseconds) == text) }

    @Test("Any moment can be written and read again")
    func roundTrip() {
        var random = SeededTexts(seed: 4_517)
        for _ in 0..<1_000 {
            let moment = Int64.random(in: -62_167_219_200_000...253_402_300_799_999, using: &random)
            #expect(GeneralizedTime.milliseconds(of: GeneralizedTime.text(milliseconds: moment)) == moment)
        }
    }
}

@Suite("The schema as directories load it")
struct SchemaTextTests {
    private func definitions(_ text: String, _ keyword: String) -> [String] {
        // What continues a line of slapd.conf begins with a space, as in LDIF, where it is dropped.
        text.replacing("\n ", with: text.contains("attributetype") ? " " : "").split(separator: "\n").filter { $0.hasPrefix("\(keyword) ") }.map(String.init)
    }

    @Test("OpenLDAP's file names all by the arc's short name")
    func slapd() {
        let text = SchemaText.text(.slapd)
        #expect(text.hasPrefix("objectIdentifier martlet 2.25.147695742700737359237692067388437724193\nobjectIdentifier martletAttr martlet:1\n"))
        #expect(definitions(text, "attributetype").count == MartletSchema.attributeTypes.count)
        #expect(definitions(text, "objectclass").count == MartletSchema.objectClasses.count)
        let line = "attributetype ( martletAttr:1 NAME 'xmppAddress' DESC 'bare JID' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch"
        #expect(definitions(text, "attributetype").contains { $0.replacing("  ", with: " ").hasPrefix(line) })
        #expect(text.split(separator: "\n").allSatisfy { $0.utf8.count <= 100 })
    }

    @Test("Entry and changes are LDIF that holds the same definitions")
    func ldif() throws {
        let entry = try #require(try LDIFReader.records(SchemaText.text(.olc)).first)
        guard case .entry(let schema) = entry.content else { throw LDIFError(.expected("an entry"), line: 1) }
        #expect(schema.name == "cn=martlet,cn=schema,cn=config")
        let change = try #require(try LDIFReader.records(SchemaText.text(.ds389)).first)
        guard case .modify(let request) = change.content else { throw LDIFError(.expected("changes"), line: 1) }
        #expect(request.name == "cn=schema" && request.changes.map(\.kind) == [.add, .add])
        let values = schema.attributes.filter { $0.description.hasPrefix("olcAttributeTypes") || $0.description.hasPrefix("olcObjectClasses") }.map(\.values)
        #expect(values == request.changes.map(\.attribute.values))
        let enabled = "( 2.25.147695742700737359237692067388437724193.1.2 NAME 'xmppEnabled' EQUALITY booleanMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )"
        #expect(request.changes[0].attribute.values.contains(Array(enabled.utf8)))
        let server = "( 2.25.147695742700737359237692067388437724193.2.11 NAME 'martletServer' SUP martletConfigEntry STRUCTURAL MAY martletConfigVersion )"
        #expect(request.changes[1].attribute.values.contains(Array(server.utf8)))
    }
}

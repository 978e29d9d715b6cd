import MartletLDAP
import NIOCore
import Testing

@Suite("What reading LDAP costs")
struct LDAPCostTests {
    /// A person as a mirror asks for one, of about a kilobyte.
    private func entry(_ number: Int) -> LDAPMessage {
        let texts = [
            "uid": "person\(number)", "cn": "Person \(number)", "sn": "Person", "givenName": "One", "displayName": "Person of Number \(number)",
            "mail": "person\(number)@example.org", "telephoneNumber": "+44 20 7946 0001", "title": "Duty officer", "ou": "Operations",
            "o": "Example", "l": "London", "street": "1 Example Street", "postalCode": "SW1A 1AA", "xmppAddress": "person\(number)@example.org",
            "xmppEnabled": "TRUE", "employeeType": "staff", "preferredLanguage": "en", "modifyTimestamp": "20261130153119Z",
            "entryUUID": "d3a4b7b2-811e-1041-9ec0-2ba415818747", "userPassword": String(repeating: "x", count: 120),
        ]
        let classes = LDAPAttribute("objectClass", strings: ["top", "person", "organizationalPerson", "inetOrgPerson", "xmppUser"])
        let entry = LDAPEntry("uid=person\(number),ou=people,dc=example,dc=org", [classes] + texts.map { LDAPAttribute($0.key, $0.value) })
        let state = SyncStateControl(.add, uuid: Array(repeating: UInt8(truncatingIfNeeded: number), count: 16))
        return LDAPMessage(2, .searchResultEntry(entry), controls: [state.control(isCritical: false)])
    }

    @Test("ten thousand entries of a synchronisation are read in a fraction of a second")
    func entries() throws {
        var stream = ByteBuffer()
        for number in 0..<10_000 { entry(number).encode(into: &stream) }
        var count = 0
        let time = try ContinuousClock().measure {
            var framing = LDAPFraming(messageBytesMax: LDAPLimits.messageBytesMax)
            while let piece = stream.readSlice(length: min(65_536, stream.readableBytes)), piece.readableBytes > 0 {
                framing.take(piece)
                while let octets = try framing.next() {
                    let message = try LDAPMessage(decoding: octets)
                    if try message.controls.first(of: SyncStateControl.self)?.state == .add { count += 1 }
                }
            }
        }
        #expect(count == 10_000)
        print("read 10,000 entries with their state in \(time)")
        // Some hundredths of a second are usual, where nobody else wants the processor.
        #expect(time < .seconds(10))
    }

    @Test("a long message that arrives octet by octet costs linear time (reliability rule 7)")
    func linearTime() throws {
        let message = Wire.bytes(LDAPMessage(1, .bindRequest(BindRequest("", .simple(Array(repeating: 7, count: 500_000))))))
        var framing = LDAPFraming(messageBytesMax: LDAPLimits.messageBytesMax)
        var found: ByteBuffer?
        let time = try ContinuousClock().measure {
            for octet in message {
                framing.take(ByteBuffer(bytes: [octet]))
                if let whole = try framing.next() { found = whole }
            }
        }
        #expect(found == ByteBuffer(bytes: message) && framing.pendingBytes == 0)
        #expect(time < .seconds(20))
    }

    @Test("a deep filter is written in a time that its length allows")
    func deepFilter() throws {
        let inside = LDAPFilter.equality("cn", Array(repeating: 7, count: 60_000))
        let filter = (1..<LDAPLimits.filterDepthMax).reduce(inside) { inside, _ in .not(inside) }
        let encoded = filter.encoded
        #expect(encoded.count > 60_000 && encoded.count < 60_200)
        #expect(try LDAPFilter(decoding: encoded) == filter)
    }
}

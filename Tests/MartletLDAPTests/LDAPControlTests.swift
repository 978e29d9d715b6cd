import MartletLDAP
import Testing

@Suite("Controls")
struct LDAPControlTests {
    /// The value as it would be written after it was read; `nil` for types that are not known.
    private func again(_ control: LDAPControl, isFromClient: Bool) throws -> LDAPControl? {
        let value = control.value
        let typed: (any TypedControl)? =
            switch control.type {
            case LDAPControlType.pagedResults: try PagedResultsControl(value: value)
            case LDAPControlType.syncRequest: try SyncRequestControl(value: value)
            case LDAPControlType.syncState: try SyncStateControl(value: value)
            case LDAPControlType.syncDone: try SyncDoneControl(value: value)
            case LDAPControlType.persistentSearch: try PersistentSearchControl(value: value)
            case LDAPControlType.passwordPolicy: isFromClient ? nil : try PasswordPolicyResponseControl(value: value)
            case LDAPControlType.assertion: try AssertionControl(value: value)
            case LDAPControlType.preRead: isFromClient ? try PreReadRequestControl(value: value) : try PreReadResponseControl(value: value)
            case LDAPControlType.postRead: isFromClient ? try PostReadRequestControl(value: value) : try PostReadResponseControl(value: value)
            case LDAPControlType.proxiedAuthorization: try ProxiedAuthorizationControl(value: value)
            case LDAPControlType.transactionSpecification: try TransactionSpecificationControl(value: value)
            default: nil
            }
        return typed?.control(isCritical: control.isCritical)
    }

    @Test("what OpenLDAP and ldap3 said by controls is read, and would be said in the same octets")
    func captured() throws {
        var types: Set<String> = []
        for captured in try Wire.captured() {
            for control in try Wire.read(captured.bytes).controls {
                guard let again = try again(control, isFromClient: captured.isFromClient) else { continue }
                #expect(again == control, "\(captured.command)")
                types.insert(control.type)
            }
        }
        #expect(types.count == 11)
    }

    private func controls<Control: TypedControl>(_ type: Control.Type, ofCommandWith part: String, fromClient: Bool) throws -> [Control] {
        try Wire.captured().filter { $0.command.contains(part) && $0.isFromClient == fromClient }
            .compactMap { try Wire.read($0.bytes).controls.first(of: type) }
    }

    @Test("pages of ldapsearch go on where the last one ended (RFC 2696)")
    func paged() throws {
        let cookie: [UInt8] = [10, 0, 0, 0, 0, 0, 0, 0]
        let asked = try controls(PagedResultsControl.self, ofCommandWith: "-E pr=2", fromClient: true)
        #expect(asked == [.init(size: 2), .init(size: 2, cookie: cookie)])
        let answered = try controls(PagedResultsControl.self, ofCommandWith: "-E pr=2", fromClient: false)
        #expect(answered == [.init(size: 0, cookie: cookie), .init(size: 0)])
    }

    @Test("a synchronisation with slapd is read: entries that come, change and go, and where it stands (RFC 4533)")
    func sync() throws {
        let command = "'!sync=rp' "
        #expect(try controls(SyncRequestControl.self, ofCommandWith: command, fromClient: true) == [.init(.refreshAndPersist)])
        let states = try controls(SyncStateControl.self, ofCommandWith: command, fromClient: false)
        #expect(states.map(\.state) == [.add, .add, .add, .add, .modify, .delete])
        let dave = Wire.hex("d5a4c426811e1041802c5fbd8b6f26da")
        #expect(states.suffix(3).map(\.uuid) == [dave, dave, dave] && states[0].cookie == nil)
        #expect(states[5].cookie == Array("rid=000,csn=20261130153119.830127Z#000000#000#000000".utf8))
        #expect(try infos(ofCommandWith: command) == [.refreshDelete(cookie: cookie("20261130153117.233906Z"), isDone: true)])
    }

    private func cookie(_ time: String) -> [UInt8] { Array("rid=000,csn=\(time)#000000#000#000000".utf8) }

    private func infos(ofCommandWith part: String) throws -> [SyncInfo] {
        try Wire.captured().filter { $0.command.contains(part) }.compactMap {
            guard case .intermediateResponse(let response) = try Wire.read($0.bytes).operation else { return nil }
            let info = try SyncInfo(response)
            #expect(info?.response == response)
            return info
        }
    }

    @Test("a synchronisation that goes on learns of what went meanwhile")
    func syncGoesOn() throws {
        let since = cookie("20261130153119.830127Z")
        let (dave, carol) = (Wire.hex("d5a4c426811e1041802c5fbd8b6f26da"), Wire.hex("d3a4b8f2811e10419ec12ba415818747"))
        #expect(try controls(SyncRequestControl.self, ofCommandWith: "!sync=ro/rid", fromClient: true) == [.init(.refreshOnly, cookie: since)])
        #expect(
            try infos(ofCommandWith: "!sync=ro/rid") == [
                .idSet(cookie: since + Array(",delcsn=20261130153120.038292Z#000000#000#000000".utf8), refreshDeletes: true, uuids: [dave]),
                .idSet(cookie: since + Array(",delcsn=20261130153121.522148Z#000000#000#000000".utf8), refreshDeletes: true, uuids: [carol]),
            ])
        #expect(
            try controls(SyncDoneControl.self, ofCommandWith: "!sync=ro/rid", fromClient: false)
                == [.init(cookie: cookie("20261130153121.566343Z"), refreshDeletes: true)])
    }

    @Test("one that was away for too long is told by a present phase")
    func syncPresent() throws {
        #expect(try infos(ofCommandWith: "csn=20200101") == [.refreshPresent(cookie: cookie("20261130153121.566343Z"), isDone: true)])
    }

    @Test("what slapd does not say of a synchronisation is read as well (RFC 4533 §2.5)")
    func syncChoices() throws {
        let uuid = Array(repeating: UInt8(7), count: 16)
        let choices: [(String, SyncInfo)] = [
            ("8007 7269643d303030", .newCookie(Array("rid=000".utf8))),
            ("a100", .refreshDelete(cookie: nil, isDone: true)),
            ("a103 010100", .refreshDelete(cookie: nil, isDone: false)),
            ("a200", .refreshPresent(cookie: nil, isDone: true)),
            ("a206 040161 010100", .refreshPresent(cookie: [0x61], isDone: false)),
            ("a302 3100", .idSet(cookie: nil, refreshDeletes: false, uuids: [])),
            ("a317 0101ff 3112 0410 07070707070707070707070707070707", .idSet(cookie: nil, refreshDeletes: true, uuids: [uuid])),
        ]
        for (octets, info) in choices {
            let response = IntermediateResponse(name: SyncInfo.name, value: Wire.hex(octets))
            #expect(try SyncInfo(response) == info && info.response == response, "\(octets)")
        }
        #expect(try SyncInfo(IntermediateResponse(name: "1.2.3", value: [1])) == nil)
        #expect(try SyncInfo(IntermediateResponse(name: nil, value: [1])) == nil)
    }

    @Test("what is explicit although it need not be is taken, and what follows and is not known ignored")
    func loose() throws {
        let response = IntermediateResponse(name: SyncInfo.name, value: Wire.hex("a105 0101ff 9e00"))
        #expect(try SyncInfo(response) == .refreshDelete(cookie: nil, isDone: true))
        #expect(try SyncDoneControl(value: Wire.hex("3003 010100")) == .init())
        #expect(try SyncRequestControl(value: Wire.hex("3008 0a0101 010100 9e00")) == .init(.refreshOnly))
        #expect(try PagedResultsControl(value: Wire.hex("3084 00000007 020101 0400 9e00")) == .init(size: 1))
    }

    @Test("what slapd says by its password policy is read (draft-behera-ldap-password-policy-10 §6.2)")
    func passwordPolicy() throws {
        let warned = try controls(PasswordPolicyResponseControl.self, ofCommandWith: "-e ppolicy -D", fromClient: false)
        #expect(warned.first == .init(warning: .timeBeforeExpiration(86_398)))
        #expect(warned.contains(.init(fault: .passwordTooShort)) && warned.contains(.init()) && warned.last == .init(fault: .accountLocked))
        let grace = PasswordPolicyResponseControl(warning: .graceAuthenticationsRemaining(3), fault: .passwordExpired)
        #expect(grace.value == Wire.hex("3008 a003 810103 810100"))
        #expect(try PasswordPolicyResponseControl(value: grace.value) == grace)
    }

    @Test("an entry before and after a change is read as slapd sent it (RFC 4527)")
    func readEntry() throws {
        let command = "!preread=cn,title"
        #expect(try controls(PreReadRequestControl.self, ofCommandWith: command, fromClient: true) == [.init(["cn", "title"])])
        #expect(try controls(PostReadRequestControl.self, ofCommandWith: command, fromClient: true) == [.init(["title", "entryCSN"])])
        let before = LDAPEntry("uid=erin,ou=people,dc=example,dc=org", [LDAPAttribute("cn", "Erin Ø")])
        #expect(try controls(PreReadResponseControl.self, ofCommandWith: command, fromClient: false) == [.init(before)])
        let after = try controls(PostReadResponseControl.self, ofCommandWith: command, fromClient: false)
        #expect(after[0].entry.attributes.first == LDAPAttribute("title", strings: ["one", "two"]))
        let title = LDAPFilter.and([.equality("uid", Array("erin".utf8)), .not(.present("title"))])
        #expect(try controls(AssertionControl.self, ofCommandWith: command, fromClient: true) == [.init(title)])
    }

    @Test("a persistent search and what it says of entries (draft-ietf-ldapext-psearch-03)")
    func persistentSearch() throws {
        let asked = PersistentSearchControl(changesOnly: true)
        #expect(try controls(PersistentSearchControl.self, ofCommandWith: "python3-ldap3", fromClient: true) == [asked])
        // Written by pyasn1.
        let renamed = EntryChangeControl(.modifyDN, previousName: "uid=old,dc=x", changeNumber: 1_099_511_627_781)
        let octets = Wire.hex("3019 0a0108 040c 7569643d6f6c642c64633d78 0206 010000000005")
        #expect(try EntryChangeControl(value: octets) == renamed && renamed.value == octets)
        let added = Wire.hex("3003 0a0101")
        #expect(try EntryChangeControl(value: added) == .init(.add) && EntryChangeControl(.add).value == added)
    }

    @Test("somebody else is named by proxied authorization as ldapwhoami does (RFC 4370)")
    func proxied() throws {
        let erin = AuthorizationIdentity.name("uid=erin,ou=groups,dc=example,dc=org")
        #expect(try controls(ProxiedAuthorizationControl.self, ofCommandWith: "!authzid=dn:", fromClient: true) == [.init(erin)])
    }

    @Test("controls that are only a type have no value")
    func plain() throws {
        let asked = try Wire.captured().filter { $0.command.contains("'!manageDSAit'") || $0.command.contains("python3-ldap3") }
            .flatMap { try Wire.read($0.bytes).controls }
        #expect(asked.contains(.manageDsaIT) && asked.contains(.showDeleted))
        #expect(LDAPControl.changeNotification == LDAPControl("1.2.840.113556.1.4.528", isCritical: true))
        #expect(LDAPControl.passwordPolicy == LDAPControl("1.3.6.1.4.1.42.2.27.8.5.1"))
    }

    @Test("the first control of a type is found, and nothing of another type looked at")
    func first() throws {
        let controls = [LDAPControl("1.2", value: [0xFF])] + [7, 8].map { PagedResultsControl(size: $0).control(isCritical: true) }
        #expect(try controls.first(of: PagedResultsControl.self) == .init(size: 7))
        #expect(try controls.first(of: SyncDoneControl.self) == nil)
    }

    private func fault<Control: TypedControl>(_ type: Control.Type, _ value: String?) -> LDAPFault? {
        do throws(LDAPFault) {
            _ = try Control(value: value.map(Wire.hex))
            return nil
        } catch {
            return error
        }
    }

    @Test("a value that is missing is told")
    func missing() {
        let types: [any TypedControl.Type] = [
            PagedResultsControl.self, SyncRequestControl.self, SyncStateControl.self, SyncDoneControl.self, PersistentSearchControl.self,
            EntryChangeControl.self, PasswordPolicyResponseControl.self, AssertionControl.self, PreReadRequestControl.self,
            PreReadResponseControl.self, PostReadRequestControl.self, PostReadResponseControl.self, ProxiedAuthorizationControl.self,
            TransactionSpecificationControl.self,
        ]
        for type in types { #expect(fault(type, nil) == .missing(tag: 4), "\(type)") }
    }

    @Test("what is wrong with a value is told")
    func faults() {
        #expect(fault(PagedResultsControl.self, "") == .missing(tag: 0x30))
        #expect(fault(PagedResultsControl.self, "3005 0201ff 0400") == .outOfRange(-1))
        #expect(fault(PagedResultsControl.self, "3003 020101") == .missing(tag: 4))
        #expect(fault(PagedResultsControl.self, "3005 020101 0400 00") == .surplus(bytes: 1))
        #expect(fault(PagedResultsControl.self, "3080 020101 0400 0000") == .indefiniteLength)
        #expect(fault(SyncRequestControl.self, "3003 0a0102") == .outOfRange(2))
        #expect(fault(SyncStateControl.self, "3003 0a0104") == .outOfRange(4))
        #expect(fault(SyncStateControl.self, "3005 0a0101 0400") == .malformedUUID(bytes: 0))
        #expect(fault(SyncStateControl.self, "3016 0a0101 0411 0707070707070707070707070707070707") == .malformedUUID(bytes: 17))
        #expect(fault(PersistentSearchControl.self, "3009 020180 0101ff 0101ff") == .outOfRange(-128))
        #expect(fault(EntryChangeControl.self, "3003 0a0103") == .outOfRange(3))
        #expect(fault(EntryChangeControl.self, "3006 0a0101 0201ff") == .outOfRange(-1))
        #expect(fault(PasswordPolicyResponseControl.self, "3002 a000") == .missing(tag: nil))
        #expect(fault(PasswordPolicyResponseControl.self, "3005 a003 820101") == .unknownChoice(tag: 0x82))
        #expect(fault(PasswordPolicyResponseControl.self, "3008 a006 800101 810101") == .surplus(bytes: 3))
        #expect(fault(AssertionControl.self, "8702 636e 00") == .surplus(bytes: 1))
        #expect(fault(PostReadResponseControl.self, "3004 0400 3000") == .unexpected(tag: 0x30, expected: 0x64))
        #expect(fault(ProxiedAuthorizationControl.self, "616c696365") == .malformedAuthorizationIdentity)
        #expect(fault(ProxiedAuthorizationControl.self, "646e3aff") == .notUTF8)
    }

    @Test("what is wrong with what is said between entries is told")
    func infoFaults() {
        func fault(_ value: String?) -> LDAPFault? {
            do throws(LDAPFault) {
                _ = try SyncInfo(IntermediateResponse(name: SyncInfo.name, value: value.map(Wire.hex)))
                return nil
            } catch {
                return error
            }
        }
        #expect(fault(nil) == .missing(tag: 4) && fault("") == .missing(tag: nil))
        #expect(fault("a400") == .unknownChoice(tag: 0xA4) && fault("8100") == .unknownChoice(tag: 0x81))
        #expect(fault("a000") == .unknownChoice(tag: 0xA0))
        #expect(fault("a300") == .missing(tag: 0x31) && fault("a305 3103 040107") == .malformedUUID(bytes: 1))
        #expect(fault("8000 00") == .surplus(bytes: 1))
    }

    @Test("as many UUIDs as are allowed are read, of one more not")
    func uuids() throws {
        let uuid = [0x04, 0x10] + [UInt8](repeating: 7, count: 16)
        func info(_ count: Int) throws(LDAPFault) -> SyncInfo? {
            let value = Wire.element(0xA3, Wire.element(0x31, Array(Array(repeating: uuid, count: count).joined())))
            return try SyncInfo(IntermediateResponse(name: SyncInfo.name, value: value))
        }
        guard case .idSet(nil, false, let uuids) = try info(LDAPLimits.syncUUIDsMax) else {
            Issue.record("it is not read")
            return
        }
        #expect(uuids.count == LDAPLimits.syncUUIDsMax)
        #expect(throws: LDAPFault.tooMany(.uuids, max: LDAPLimits.syncUUIDsMax)) { try info(LDAPLimits.syncUUIDsMax + 1) }
    }
}

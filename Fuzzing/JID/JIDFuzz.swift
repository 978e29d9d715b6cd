import MartletXMPP

/// Any bytes are an address or a fault; an address is a fixed point of preparation, of splitting and of the cache.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzJID(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    var cache = JIDCache(capacity: 1)
    guard let jid = try? JID(parsing: bytes) else {
        precondition((try? cache.jid(bytes)) == nil, "the cache accepts what is no address")
        return 0
    }
    jid.withUTF8 { prepared in
        precondition((try? JID(parsing: prepared)) == jid, "preparing again gives another address")
        precondition((try? cache.jid(prepared)) == jid, "the cache gives another address")
        precondition((try? cache.jid(prepared)) == jid, "the cache gives another address the second time")
        precondition(String(validating: prepared, as: UTF8.self) != nil, "an address is not UTF-8")
    }
    checkParts(of: jid)
    return 0
}

private func checkParts(of jid: JID) {
    let bare = try? BareJID(localpart: jid.bare.localpart, domainpart: jid.bare.domainpart)
    precondition(bare == jid.bare, "the parts give another bare address")
    precondition(bare?.hashValue == jid.bare.hashValue && bare?.shardHash == jid.bare.shardHash, "equal addresses hash apart")
    switch jid {
    case .bare(let whole): precondition(whole == bare, "a bare address is its bare part")
    case .full(let whole):
        precondition((try? bare?.with(resourcepart: whole.resourcepart)) == whole, "the parts give another full address")
    }
    precondition(jid.bare.compacted() == jid.bare, "a copy is another address")
}

internal import GatehouseStore
internal import Logging

extension Logger {
    /// What becomes of the registrations' file.
    func tell(_ event: BindingStore.Event) {
        switch event {
        case .failing(let error):
            self.error(
                "registrations cannot be written to disk: they wait in memory until they can",
                metadata: ["cause": "\(error)"])
        case .writesAgain:
            self.notice("registrations are written to disk again")
        case .restored(let path):
            self.warning(
                "the file of registrations was moved or deleted and is written anew: stop the edge before you touch it",
                metadata: ["file": "\(path)"])
        case .unreadable(let error):
            self.error("how registrations came cannot be read from disk", metadata: ["cause": "\(error)"])
        }
    }
}
